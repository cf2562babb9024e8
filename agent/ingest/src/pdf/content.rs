//! Which letters a page shows, and where: the operators of text in its content
//! stream (ISO 32000-2, 9.3 and 9.4), and of what moves text (8.4.4).

use std::sync::Arc;

use hayro_font::hayro_cmap::{BfString, load_embedded};
use hayro_font::kurbo::{Affine, Point, Vec2};
use hayro_font::{CMapResolverFn, Font, FontCache, FontGlyph, FontQuery, FontResolverFn};
use hayro_syntax::content::TypedIter;
use hayro_syntax::content::ops::TypedInstruction;
use hayro_syntax::object::dict::keys::{ACTUAL_TEXT, FORM, MATRIX, RESOURCES, SUBTYPE};
use hayro_syntax::object::{self, Array, Dict, Name, Number, Object, Stream};
use hayro_syntax::page::{Page, Resources};

use crate::error::{Error, ErrorKind};

use super::line::{Lines, Shown};
use super::string;

/// Forms that draw forms, so deep. Word processors nest two or three.
const FORM_DEPTH_MAX: usize = 16;

/// Most saved states; the standard says 28 is enough for all.
const SAVED_MAX: usize = 512;

/// Most nested marked parts.
const MARKS_MAX: usize = 512;

/// Most operators of a document: a page of dense text has 10,000, a map a
/// million. Forms drawn by forms can ask for any number.
const OPERATORS_MAX: usize = 200_000_000;

/// Reads pages one after another, keeping their fonts.
pub(super) struct Reader<'a> {
    fonts: FontCache<'a>,
    font_files: FontResolverFn,
    encodings: CMapResolverFn,
    operators_left: usize,
    /// Letters of which the file does not say what they are.
    pub(super) unknown: usize,
}

/// The part of the graphics state that text has to do with.
#[derive(Clone)]
struct State<'a> {
    /// To the page as people see it, y downwards.
    to_page: Affine,
    font: Option<Font<'a>>,
    size: f64,
    letter_space: f64,
    word_space: f64,
    stretch: f64,
    leading: f64,
    rise: f64,
}

/// Where the next letter goes.
struct Pen {
    letter: Affine,
    line: Affine,
}

/// What a part of the content is marked as.
enum Mark {
    /// Nothing that changes its text.
    Plain,
    /// Not the document's own: page numbers, running heads.
    Artifact,
    /// Its letters stand for this text, until it was shown.
    Replaced(Option<String>),
}

impl<'a> Reader<'a> {
    pub(super) fn new() -> Self {
        Self {
            fonts: FontCache::new(),
            font_files: Arc::new(|query| match query {
                FontQuery::Standard(font) => Some(font.get_font_data()),
                FontQuery::Fallback(font) => Some(font.pick_standard_font().get_font_data()),
            }),
            encodings: Arc::new(load_embedded),
            operators_left: OPERATORS_MAX,
            unknown: 0,
        }
    }

    pub(super) fn read_page(&mut self, page: &Page<'a>, lines: &mut Lines) -> Result<(), Error> {
        let state = State {
            to_page: Affine::new(page.initial_transform(true).as_coeffs()),
            font: None,
            size: 1.0,
            letter_space: 0.0,
            word_space: 0.0,
            stretch: 1.0,
            leading: 0.0,
            rise: 0.0,
        };
        self.read(page.typed_operations(), page.resources(), state, 0, lines)
    }

    fn read(
        &mut self,
        mut operators: TypedIter<'_>,
        resources: &Resources<'a>,
        state: State<'a>,
        depth: usize,
        lines: &mut Lines,
    ) -> Result<(), Error> {
        let mut content = Content {
            reader: self,
            resources,
            state,
            saved: Vec::new(),
            pen: Pen {
                letter: Affine::IDENTITY,
                line: Affine::IDENTITY,
            },
            marks: Vec::new(),
            depth,
            lines,
        };
        while let Some(operator) = operators.next() {
            let left = content.reader.operators_left.checked_sub(1);
            let Some(left) = left else {
                let reason = format!("too many operators, limit={OPERATORS_MAX}");
                return Err(Error::new(ErrorKind::TooLarge, reason));
            };
            content.reader.operators_left = left;
            content.apply(&operator)?;
        }
        Ok(())
    }

    fn font(&self, resources: &Resources<'a>, name: &Name<'_>) -> Option<Font<'a>> {
        let font = resources.get_font(name)?;
        self.fonts.font(&font, &self.font_files, &self.encodings)
    }
}

/// One content stream that is being read.
struct Content<'r, 'a> {
    reader: &'r mut Reader<'a>,
    resources: &'r Resources<'a>,
    state: State<'a>,
    saved: Vec<State<'a>>,
    pen: Pen,
    marks: Vec<Mark>,
    depth: usize,
    lines: &'r mut Lines,
}

impl<'a> Content<'_, 'a> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other operators draw what is no text"
    )]
    fn apply(&mut self, operator: &TypedInstruction<'_, '_>) -> Result<(), Error> {
        match operator {
            TypedInstruction::SaveState(_) if self.saved.len() < SAVED_MAX => {
                self.saved.push(self.state.clone());
            }
            TypedInstruction::RestoreState(_) => {
                if let Some(state) = self.saved.pop() {
                    self.state = state;
                }
            }
            TypedInstruction::Transform(matrix) => {
                let numbers = [matrix.0, matrix.1, matrix.2, matrix.3, matrix.4, matrix.5];
                self.state.to_page *= affine(numbers);
            }
            TypedInstruction::XObject(name) => self.draw(name.0)?,
            TypedInstruction::CharacterSpacing(space) => {
                self.state.letter_space = space.0.as_f64();
            }
            TypedInstruction::WordSpacing(space) => self.state.word_space = space.0.as_f64(),
            TypedInstruction::HorizontalScaling(percent) => {
                self.state.stretch = percent.0.as_f64() / 100.0;
            }
            TypedInstruction::TextLeading(leading) => self.state.leading = leading.0.as_f64(),
            TypedInstruction::TextFont(font) => {
                self.state.font = self.reader.font(self.resources, font.0);
                self.state.size = font.1.as_f64();
            }
            TypedInstruction::TextRise(rise) => self.state.rise = rise.0.as_f64(),
            TypedInstruction::BeginMarkedContent(mark) => self.begin_mark(mark.0, None),
            TypedInstruction::BeginMarkedContentWithProperties(mark) => {
                self.begin_mark(mark.0, Some(mark.1));
            }
            TypedInstruction::EndMarkedContent(_) => {
                self.marks.pop();
            }
            operator => self.apply_text(operator)?,
        }
        Ok(())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other operators draw what is no text"
    )]
    fn apply_text(&mut self, operator: &TypedInstruction<'_, '_>) -> Result<(), Error> {
        match operator {
            TypedInstruction::BeginText(_) => self.set_line(Affine::IDENTITY),
            TypedInstruction::NextLine(by) => self.next_line(by.0.as_f64(), by.1.as_f64()),
            TypedInstruction::NextLineAndSetLeading(by) => {
                self.state.leading = -by.1.as_f64();
                self.next_line(by.0.as_f64(), by.1.as_f64());
            }
            TypedInstruction::NextLineUsingLeading(_) => self.next_line(0.0, -self.state.leading),
            TypedInstruction::SetTextMatrix(matrix) => {
                let numbers = [matrix.0, matrix.1, matrix.2, matrix.3, matrix.4, matrix.5];
                self.set_line(affine(numbers));
            }
            TypedInstruction::ShowText(text) => self.show(text.0)?,
            TypedInstruction::NextLineAndShowText(text) => {
                self.next_line(0.0, -self.state.leading);
                self.show(text.0)?;
            }
            TypedInstruction::ShowTextWithParameters(text) => {
                self.state.word_space = text.0.as_f64();
                self.state.letter_space = text.1.as_f64();
                self.next_line(0.0, -self.state.leading);
                self.show(text.2)?;
            }
            TypedInstruction::ShowTexts(parts) => self.show_parts(parts.0)?,
            _ => {}
        }
        Ok(())
    }

    fn show_parts(&mut self, parts: &Array<'_>) -> Result<(), Error> {
        for part in parts.iter::<Object<'_>>() {
            if let Object::String(text) = &part {
                self.show(text)?;
            } else if let Object::Number(thousandths) = &part {
                let by = -thousandths.as_f64() / 1_000.0 * self.state.size;
                let by = if self.is_horizontal() {
                    Vec2::new(by * self.state.stretch, 0.0)
                } else {
                    Vec2::new(0.0, by)
                };
                self.pen.letter *= Affine::translate(by);
            }
        }
        Ok(())
    }

    fn is_horizontal(&self) -> bool {
        self.state.font.as_ref().is_none_or(Font::is_horizontal)
    }

    fn set_line(&mut self, line: Affine) {
        self.pen = Pen { letter: line, line };
    }

    fn next_line(&mut self, x: f64, y: f64) {
        self.set_line(self.pen.line * Affine::translate(Vec2::new(x, y)));
    }

    /// Shows a string letter by letter.
    fn show(&mut self, text: &object::String<'_>) -> Result<(), Error> {
        let bytes = text.as_bytes();
        let Some(font) = self.state.font.clone() else {
            self.reader.unknown = self.reader.unknown.saturating_add(bytes.len());
            return Ok(());
        };
        let mut at = 0;
        while at < bytes.len() {
            let (code, length) = font.read_code(bytes, at);
            let length = length.max(1);
            at += length;
            let is_space = code == 32 && length == 1;
            self.show_letter(&font, code, is_space)?;
        }
        Ok(())
    }

    fn show_letter(&mut self, font: &Font<'a>, code: u32, is_space: bool) -> Result<(), Error> {
        let State {
            size,
            stretch,
            letter_space,
            word_space,
            rise,
            ..
        } = self.state;
        let width = font.code_advance(code) / 1_000.0 * size;
        let space = letter_space + if is_space { word_space } else { 0.0 };
        let (width, space) = if font.is_horizontal() {
            (
                Vec2::new(width.x * stretch, 0.0),
                Vec2::new(space * stretch, 0.0),
            )
        } else {
            (Vec2::new(0.0, width.y), Vec2::new(0.0, space))
        };
        let to_page = self.state.to_page * self.pen.letter;
        let foot = Point::new(0.0, rise);
        let start = to_page * foot;
        let height = to_page * (foot + Vec2::new(0.0, size)) - start;
        let end = to_page * (foot + width);
        self.pen.letter *= Affine::translate(width + space);
        let letters = self.letters(font, code);
        self.lines.show(&Shown {
            letters: &letters,
            start,
            end,
            size: height.hypot(),
        })
    }

    /// What a code says, with the marks around it.
    fn letters(&mut self, font: &Font<'a>, code: u32) -> String {
        let mut replaced = None;
        for mark in &mut self.marks {
            match mark {
                Mark::Plain => {}
                Mark::Artifact => return String::new(),
                Mark::Replaced(text) => {
                    replaced.get_or_insert(text);
                }
            }
        }
        if let Some(text) = replaced {
            return text.take().unwrap_or_default();
        }
        let letters = match font.glyph(font.map_code(code), code) {
            FontGlyph::Outline(glyph) => glyph.as_unicode(),
            // TeX draws old fonts as pictures without names; the codes are
            // those of ASCII.
            FontGlyph::Type3(glyph) => glyph.as_unicode().or_else(|| ascii(code)),
        };
        match letters {
            Some(BfString::Char(letter)) => letter.into(),
            Some(BfString::String(letters)) => letters,
            None => {
                self.reader.unknown = self.reader.unknown.saturating_add(1);
                String::new()
            }
        }
    }

    /// Draws a form: a content stream of its own.
    fn draw(&mut self, name: &Name<'_>) -> Result<(), Error> {
        if self.depth >= FORM_DEPTH_MAX || self.is_artifact() {
            return Ok(());
        }
        let Some(form) = self.resources.get_x_object(name).filter(is_form) else {
            return Ok(());
        };
        let dict = form.dict();
        let matrix = dict.get::<[f64; 6]>(MATRIX);
        let mut state = self.state.clone();
        state.to_page *= matrix.map_or(Affine::IDENTITY, Affine::new);
        let own = dict.get::<Dict<'_>>(RESOURCES).map(Resources::new);
        let resources = own.as_ref().unwrap_or(self.resources);
        let Ok(content) = form.decoded_data() else {
            return Ok(());
        };
        let operators = TypedIter::new(&content);
        let depth = self.depth + 1;
        self.reader
            .read(operators, resources, state, depth, self.lines)
    }

    fn is_artifact(&self) -> bool {
        self.marks.iter().any(|mark| matches!(mark, Mark::Artifact))
    }

    fn begin_mark(&mut self, tag: &Name<'_>, properties: Option<&Object<'_>>) {
        if self.marks.len() >= MARKS_MAX {
            return;
        }
        let replacement = properties.and_then(|properties| match properties {
            Object::Dict(properties) => actual_text(properties),
            Object::Name(name) => actual_text(&self.resources.properties.get::<Dict<'_>>(name)?),
            Object::Null(_)
            | Object::Boolean(_)
            | Object::Number(_)
            | Object::String(_)
            | Object::Array(_)
            | Object::Stream(_) => None,
        });
        self.marks.push(match replacement {
            Some(text) => Mark::Replaced(Some(text)),
            None if tag.as_str() == "Artifact" => Mark::Artifact,
            None => Mark::Plain,
        });
    }
}

fn ascii(code: u32) -> Option<BfString> {
    let letter = char::from_u32(code)?;
    letter.is_ascii_graphic().then_some(BfString::Char(letter))
}

fn actual_text(properties: &Dict<'_>) -> Option<String> {
    let text = properties.get::<object::String<'_>>(ACTUAL_TEXT)?;
    Some(string::decode(text.as_bytes()).unwrap_or_default())
}

fn is_form(stream: &Stream<'_>) -> bool {
    let subtype = stream.dict().get::<Name<'_>>(SUBTYPE);
    subtype.is_some_and(|subtype| subtype.as_ref() == FORM)
}

fn affine(numbers: [Number; 6]) -> Affine {
    Affine::new(numbers.map(|number| number.as_f64()))
}
