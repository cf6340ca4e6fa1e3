"""Contact sheets: some photos with their most similar ones, and the worst mistakes."""

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from marketplace.compute.arrays import Images
from marketplace.evaluation.retrieval import cosine, nearest

THUMBNAIL = 112
GAP = 12
CAPTION = 18
HEADING = 26
N_SIMILAR = 6
N_MISTAKES = 12
MISTAKES_PER_ROW = 4
MISTAKE_WIDTH = 220  # pixels
INK = (70, 70, 76)
RULE = (214, 214, 220)
RED = (196, 52, 44)


def similar_sheet(images: Images, table: pd.DataFrame, embeddings: np.ndarray, queries: np.ndarray) -> Image.Image:
    """Draw a row per query: the photo, then its six nearest photos of other products with their cosine similarity.

    `images` `(N, S, S, 3) uint8`, `table` with product_id, category and sha256, `embeddings` `(N, D)`, `queries`
    `(Q,)` row numbers. The similarity is red where the category differs.
    """
    categories = table["category"].to_numpy()
    products = table["product_id"].to_numpy()
    neighbours = nearest(embeddings, table["sha256"].to_numpy(), queries, k=len(table))
    pitch = THUMBNAIL + GAP
    width = 3 * GAP + (N_SIMILAR + 1) * pitch
    height = HEADING + GAP + len(queries) * (pitch + CAPTION)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    similar_left = GAP + pitch + 2 * GAP
    rule = similar_left - 1.5 * GAP  # a line between the photos and their neighbours
    draw.line((rule, GAP, rule, height - GAP), RULE)
    draw.text((GAP, GAP), "photo", INK, font)
    draw.text((similar_left, GAP), "most similar photos of other products, and how similar (cosine)", INK, font)
    for line, (query, neighbour_rows) in enumerate(zip(queries, neighbours, strict=True)):
        top = HEADING + GAP + line * (pitch + CAPTION)
        sheet.paste(_thumbnail(images[query]), (GAP, top))
        draw.text((GAP, top + THUMBNAIL + 3), _shorten(categories[query], draw, font, THUMBNAIL + GAP), INK, font)
        others = [row for row in neighbour_rows if row >= 0 and products[row] != products[query]]
        for place, row in enumerate(others[:N_SIMILAR]):
            left = similar_left + place * pitch
            sheet.paste(_thumbnail(images[row]), (left, top))
            colour = INK if categories[row] == categories[query] else RED
            draw.text((left, top + THUMBNAIL + 3), f"{cosine(embeddings[query], embeddings[row]):.2f}", colour, font)
    return sheet


def worst_mistakes(table: pd.DataFrame, rows: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Return the test photos assigned to a wrong category with the greatest confidence, one per product.

    `rows` `(T,)` are the photos' rows in `table` (the training data), `probabilities` `(T, n_categories)` belong to
    them. The result has row, assigned (label) and probability, the most confident first; twelve rows, or fewer if there
    are fewer mistakes.
    """
    guesses = pd.DataFrame(
        {
            "row": rows,
            "assigned": probabilities.argmax(axis=1),
            "probability": probabilities.max(axis=1),
            "product_id": table["product_id"].to_numpy()[rows],
        }
    )
    mistakes = guesses[guesses["assigned"].to_numpy() != table["label"].to_numpy()[rows]]
    ordered = mistakes.sort_values("probability", ascending=False, kind="stable").drop_duplicates("product_id")
    return ordered.head(N_MISTAKES).drop(columns="product_id").reset_index(drop=True)


def mistakes_sheet(images: Images, table: pd.DataFrame, mistakes: pd.DataFrame, names: list[str]) -> Image.Image:
    """Draw photos with their category, and in red the category they were assigned to, with its probability.

    `images` `(N, S, S, 3) uint8`, `mistakes` from `worst_mistakes`, `names` of the categories by label.
    """
    font = ImageFont.load_default(size=12)
    n_rows = max(1, -(-len(mistakes) // MISTAKES_PER_ROW))
    pitch = THUMBNAIL + 2 * CAPTION + GAP
    sheet = Image.new("RGB", (GAP + MISTAKES_PER_ROW * MISTAKE_WIDTH, HEADING + GAP + n_rows * pitch), "white")
    draw = ImageDraw.Draw(sheet)
    heading = "no test photo was assigned to a wrong category"
    if len(mistakes):
        heading = "the worst mistakes: the photo's category, and the probability of the category it was assigned to"
    draw.text((GAP, GAP), heading, INK, font)
    for place, mistake in enumerate(mistakes.itertuples()):
        line, column = divmod(place, MISTAKES_PER_ROW)
        left = GAP + column * MISTAKE_WIDTH
        top = HEADING + GAP + line * pitch
        sheet.paste(_thumbnail(images[mistake.row]), (left, top))
        room = MISTAKE_WIDTH - GAP  # pixels
        truth = _shorten(names[table["label"].iloc[mistake.row]], draw, font, room)
        guess = _shorten(names[mistake.assigned], draw, font, room - draw.textlength("0.00  ", font))
        draw.text((left, top + THUMBNAIL + 3), truth, INK, font)
        draw.text((left, top + THUMBNAIL + 3 + CAPTION), f"{mistake.probability:.2f}  {guess}", RED, font)
    return sheet


def first_test_images(table: pd.DataFrame, n: int) -> np.ndarray:
    """Return the rows of the first test images of `n` categories, evenly spread over all categories."""
    first = table[table["split"] == "test"].drop_duplicates("category").sort_values("category").index.to_numpy()
    return first[np.linspace(0, len(first) - 1, min(n, len(first))).round().astype(int)]


def _thumbnail(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)


def _shorten(
    text: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: float
) -> str:
    while draw.textlength(text, font) > room:
        text = text.removesuffix("…")[:-1].rstrip(" ,&") + "…"
    return text
