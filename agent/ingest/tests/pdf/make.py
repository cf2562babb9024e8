"""Makes the PDF files of this folder: `python3 make.py`.

Needs reportlab, fpdf2, pypdf and cryptography, and the font DejaVu Sans.
The files are small on purpose, and the same text is made by several programs,
for each writes its letters in a way of its own.
"""

import io
import sys
import zlib
from datetime import datetime, timezone

from fpdf import FPDF
from pypdf import PdfReader, PdfWriter
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate, Paragraph

DEJAVU = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"

FIRST = (
    "The ferry left the harbour before dawn, and nobody on the pier had no"
    "ticed that the lamp at its bow was dark. Those who waited for the second boat "
    "spoke of the weather, of nets, and of the price of coal."
)
SECOND = (
    "At noon a fisherman brought the lamp back. He had found it on the sand"
    "bank, burning still, with a knot of weed around its handle and a name "
    "scratched into the brass."
)


def two_columns():
    """Two columns, justified, with headings, a running head and page numbers."""
    body = ParagraphStyle(
        "body", fontName="Times-Roman", fontSize=9, leading=11,
        alignment=TA_JUSTIFY, firstLineIndent=9, splitLongWords=0,
    )
    head = ParagraphStyle("head", fontName="Helvetica-Bold", fontSize=13, leading=17)
    story = []
    for number in range(1, 16):
        story.append(Paragraph(f"Chapter of the lamp {number}", head))
        story.append(Paragraph(FIRST, body))
        story.append(Paragraph(SECOND, body))

    def decorate(canvas, doc):
        canvas.setFont("Times-Italic", 8)
        canvas.drawString(40, 575, "The Lamp and the Ferry")
        canvas.drawCentredString(210, 20, str(doc.page))

    width, height = A5
    frames = [Frame(40, 40, 160, height - 80), Frame(220, 40, 160, height - 80)]
    document = BaseDocTemplate(
        "two_columns.pdf", pagesize=A5, title="The Lamp", author="A. Writer", invariant=1,
    )
    document.addPageTemplates(PageTemplate(frames=frames, onPage=decorate))
    document.build(story)


def unicode():
    """An embedded part of a TrueType font: ligatures and four alphabets."""
    pdf = FPDF(format="A5")
    pdf.set_creation_date(datetime(2026, 1, 1, tzinfo=timezone.utc))
    pdf.set_title("Of many letters")
    pdf.add_page()
    pdf.add_font("dejavu", fname=DEJAVU)
    pdf.set_font("dejavu", size=20)
    pdf.cell(text="Of many letters", new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("dejavu", size=11)
    for line in [
        "An e\ufb03cient \ufb01sh \ufb02oats.",
        "Größe, naïve, Łódź, ångström.",
        "Съешь ещё этих мягких булок.",
        "Η γρήγορη αλεπού.",
    ]:
        pdf.ln(9)
        pdf.cell(text=line)
    pdf.output("unicode.pdf")


def japanese():
    """A font that is not in the file, in an encoding every reader must know."""
    pdfmetrics.registerFont(UnicodeCIDFont("HeiseiMin-W3"))
    canvas = Canvas("japanese.pdf", pagesize=A5, invariant=1)
    canvas.setFont("HeiseiMin-W3", 12)
    canvas.drawString(40, 500, "吾輩は猫である。")
    canvas.drawString(40, 485, "名前はまだ無い。")
    canvas.save()


def locked():
    """Needs a password to be read."""
    plain = io.BytesIO()
    canvas = Canvas(plain, pagesize=A5, invariant=1)
    canvas.drawString(40, 500, "A secret.")
    canvas.save()
    writer = PdfWriter(clone_from=PdfReader(plain))
    writer.encrypt("password", algorithm="AES-128")
    writer.write("locked.pdf")


def bomb():
    """A page whose content unfolds, in two steps, to four gigabytes."""
    once = zlib.compressobj(9)
    part = b" " * (1 << 24)
    content = b"".join(once.compress(part) for _ in range(256)) + once.flush()
    content = zlib.compress(content, 9)
    with open("bomb.pdf", "wb") as file:
        file.write(
            b"%%PDF-1.7\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n"
            b"2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj\n"
            b"3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>> endobj\n"
            b"4 0 obj <</Filter[/FlateDecode/FlateDecode]/Length %d>> stream\n" % len(content)
            + content
            + b"\nendstream endobj\ntrailer <</Root 1 0 R>>\n%%EOF\n"
        )


if __name__ == "__main__":
    for make in sys.argv[1:] or ["two_columns", "unicode", "japanese", "locked", "bomb"]:
        globals()[make]()
