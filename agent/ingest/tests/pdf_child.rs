//! PDF files made to harm, read as the agent reads them: in a process of its
//! own. Whatever they do to it, an error comes back, soon, and says why.

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ginnel_ingest::document::Extracted;
use ginnel_ingest::error::{Error, ErrorKind};
use ginnel_ingest::pdf::child;

const TWO_COLUMNS: &[u8] = include_bytes!("pdf/two_columns.pdf");
const UNICODE: &[u8] = include_bytes!("pdf/unicode.pdf");
const BOMB: &[u8] = include_bytes!("pdf/bomb.pdf");

/// Longer than any of these takes on a busy machine, shorter than for ever.
const LONG: Duration = Duration::from_secs(100);

/// The example that calls `child::main`; cargo builds it with the tests.
fn program() -> PathBuf {
    let test = env::current_exe().expect("this program's path");
    let target = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("…/deps/…");
    let name = format!("pdf_child{}", env::consts::EXE_SUFFIX);
    target.join("examples").join(name)
}

fn read(bytes: &[u8]) -> Result<Extracted, Error> {
    read_within(bytes, LONG)
}

fn read_within(bytes: &[u8], time_max: Duration) -> Result<Extracted, Error> {
    child::run(&program(), &[], bytes, time_max)
}

/// A document of these objects after its catalog, whose pages are object 2.
fn document(objects: &str) -> Vec<u8> {
    let start = "%PDF-1.7\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n";
    format!("{start}{objects}\ntrailer <</Root 1 0 R>>\n%%EOF\n").into_bytes()
}

/// A document of one page with this content and these resources.
fn page(content: &str, resources: &str, objects: &str) -> Vec<u8> {
    document(&format!(
        "2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj\n\
         3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 500 800]/Contents 4 0 R\
         /Resources<</Font<</F 5 0 R>>{resources}>>>> endobj\n\
         4 0 obj <</Length {}>> stream\n{content}\nendstream endobj\n\
         5 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj\n{objects}",
        content.len()
    ))
}

const HELLO: &str = "BT /F 10 Tf 50 700 Td (Hello) Tj ET";

#[test]
fn a_document_is_read_as_without_a_process() {
    for bytes in [TWO_COLUMNS, UNICODE] {
        let read = read(bytes).expect("read");
        assert_eq!(read, ginnel_ingest::pdf::extract(bytes).expect("read"));
    }
}

#[test]
fn a_page_that_unfolds_to_gigabytes_is_given_up() {
    let error = read(BOMB).expect_err("a bomb");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let told = error.reason();
    if cfg!(target_os = "linux") {
        let expected = "the PDF could not be read: it needs more memory, limit=1073741824";
        assert_eq!(told, expected);
    }
}

#[test]
fn forms_that_draw_forms_end() {
    // Each draws the next one twenty times: 20¹⁶ in all.
    let draw_next = "/N Do ".repeat(20);
    let forms: String = (10..40)
        .map(|n| {
            format!(
                "{n} 0 obj <</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Length {}\
                 /Resources<</XObject<</N {} 0 R>>>>>> stream\n{draw_next}\nendstream endobj\n",
                draw_next.len(),
                n + 1
            )
        })
        .collect();
    let begin = Instant::now();
    let bytes = page("/X Do", "/XObject<</X 10 0 R>>", &forms);
    let error = read_within(&bytes, Duration::from_secs(2)).expect_err("for ever");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(begin.elapsed() < LONG);
    // One that draws itself ends soon.
    let itself = "10 0 obj <</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Length 5\
         /Resources<</XObject<</X 10 0 R>>>>>> stream\n/X Do\nendstream endobj\n";
    let content = format!("/X Do {HELLO}");
    let bytes = page(&content, "/XObject<</X 10 0 R>>", itself);
    assert_eq!(read(&bytes).expect("read").text, "Hello");
}

#[test]
fn pages_in_a_circle_are_read_once_or_refused() {
    let kids = "2 0 obj <</Type/Pages/Kids[2 0 R 3 0 R 2 0 R]/Count 9>> endobj\n\
        3 0 obj <</Type/Pages/Kids[2 0 R 3 0 R 1 0 R]/Count 9>> endobj";
    let error = read(&document(kids)).expect_err("no page");
    assert!(
        [ErrorKind::Empty, ErrorKind::Invalid].contains(&error.kind()),
        "{error}"
    );
    let parent = page(HELLO, "", "").to_vec();
    let parent = String::from_utf8(parent).expect("text");
    let parent = parent.replace("/Kids[3 0 R]", "/Kids[3 0 R 2 0 R 3 0 R]/Parent 2 0 R");
    assert!(
        read(parent.as_bytes())
            .expect("read")
            .text
            .contains("Hello")
    );
}

#[test]
fn deep_nesting_ends() {
    let arrays = format!("6 0 obj {} endobj", "[".repeat(3_000_000));
    let dicts = format!("6 0 obj {} endobj", "<</A ".repeat(100_000));
    let content = format!("{} {HELLO}", "[".repeat(3_000_000));
    let saved = format!("{} {HELLO}", "q ".repeat(1_000_000));
    let marks = format!("{} {HELLO}", "/P BMC ".repeat(1_000_000));
    for bytes in [
        page(HELLO, "", &arrays),
        page(HELLO, "", &dicts),
        page(&content, "", ""),
        page(&saved, "", ""),
        page(&marks, "", ""),
    ] {
        check_ends(&bytes);
    }
}

#[test]
fn tables_and_lengths_that_lie_end() {
    let objects = "2 0 obj <</Type/Pages/Kids[3 0 R]/Count 2147483647>> endobj\n";
    let tables = [
        "xref\n0 4294967295\n0000000000 65535 f \n",
        "xref\n0 99999999999999999999\n",
        "6 0 obj <</Type/XRef/Size 2147483647/W[1 8 8]/Index[0 2147483647]/Length 0>> stream\n\nendstream endobj\n",
        "6 0 obj <</Type/ObjStm/N 2147483647/First 2147483647/Length 6 0 R>> stream\n\nendstream endobj\n",
        "6 0 obj <</Length 6 0 R/Filter[/FlateDecode/LZWDecode/ASCIIHexDecode]>> stream\nx\nendstream endobj\n",
    ];
    for table in tables {
        check_ends(&document(&format!("{objects}{table}")));
        let looped =
            format!("{table}trailer <</Root 1 0 R/Size 2147483647/Prev 9>>\nstartxref\n9\n");
        check_ends(&page(HELLO, "", &looped));
    }
}

#[test]
fn fonts_that_map_all_numbers_end() {
    let map = "1 begincodespacerange <00000000> <ffffffff> endcodespacerange\n\
        3 beginbfrange <00000000> <ffffffff> <0041>\n<0000> <ffff> <0041>\n\
        <00> <ff> [<0041>] endbfrange\n1 begincidrange <00000000> <ffffffff> 0 endcidrange";
    let font = format!(
        "6 0 obj <</Type/Font/Subtype/Type0/BaseFont/X/Encoding 7 0 R/ToUnicode 7 0 R\
         /DescendantFonts[<</Subtype/CIDFontType2/BaseFont/X/W[0 4294967295 1000]\
         /CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>>>]>> endobj\n\
         7 0 obj <</Type/CMap/CMapName/X/UseCMap 7 0 R/Length {}>> stream\n{map}\nendstream endobj\n",
        map.len()
    );
    let content = format!(
        "BT /G 10 Tf 50 700 Td <4142434445464748> Tj {} Tj ET {HELLO}",
        "(a)"
    );
    let bytes = page(&content, "/Font<</G 6 0 R/F 5 0 R>>", &font);
    check_ends(&bytes);
}

#[test]
fn numbers_without_end_or_measure_end() {
    let numbers = format!("{} {HELLO}", "1e999 -9e99 0.0000000001 ".repeat(100));
    let matrix = format!("9e30 9e30 9e30 9e30 9e30 9e30 cm 9e30 0 0 9e30 0 0 cm {HELLO}");
    let sizes = "BT /F 1e38 Tf 1e38 Tc 1e38 Tw 1e38 Tz 1e38 TL 1e38 Ts 50 700 Td (abc) ' ET";
    let zero = "BT /F 0 Tf 0 0 0 0 0 0 Tm (abc) Tj ET";
    for content in [numbers.as_str(), &matrix, sizes, zero] {
        check_ends(&page(content, "", ""));
    }
}

/// Takes real documents and changes bytes in them, always the same way.
#[test]
fn damaged_documents_end() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).expect("small")).expect("small")
    };
    for round in 0..60 {
        let mut bytes = [TWO_COLUMNS, UNICODE][round % 2].to_vec();
        for _ in 0..1 + random(30) {
            let at = random(bytes.len());
            bytes[at] = u8::try_from(random(256)).expect("a byte");
        }
        if round % 5 == 0 {
            bytes.truncate(random(bytes.len()));
        }
        check_ends(&bytes);
    }
}

/// Read or refused, but before the time is over, and without a crash that
/// nobody has an explanation for.
#[track_caller]
fn check_ends(bytes: &[u8]) {
    if let Err(error) = read(bytes) {
        let reason = error.reason();
        assert!(!reason.contains("longer than"), "{reason}");
        assert!(!reason.contains("could not be started"), "{reason}");
        assert!(!reason.contains("without an answer"), "{reason}");
    }
}
