"""Contact sheets of the result: some photos with their most similar ones, and the worst mistakes."""

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
N_MISTAKES, MISTAKES_A_ROW, MISTAKE_WIDTH = 12, 4, 220  # how many, and pixels for each
INK, MISS = (70, 70, 76), (196, 52, 44)


def similar_sheet(images: Images, table: pd.DataFrame, embeddings: np.ndarray, queries: np.ndarray) -> Image.Image:
    """A row per query: the photo, then its six nearest photos of other products with their cosine similarity.

    `images` `(N, S, S, 3) uint8`, `table` with product_id, category and sha256, `embeddings` `(N, D)`, `queries`
    `(Q,)` row numbers. A similarity is red where the category is another.
    """
    categories, products = table["category"].to_numpy(), table["product_id"].to_numpy()
    found = nearest(embeddings, table["sha256"].to_numpy(), queries, k=len(table))
    pitch = THUMBNAIL + GAP
    width, height = 3 * GAP + (N_SIMILAR + 1) * pitch, HEADING + GAP + len(queries) * (pitch + CAPTION)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    right = GAP + pitch + 2 * GAP  # of the line between the photos and what is similar to them
    draw.line((right - 1.5 * GAP, GAP, right - 1.5 * GAP, height - GAP), (214, 214, 220))
    draw.text((GAP, GAP), "photo", INK, font)
    draw.text((right, GAP), "most similar photos of other products, and how similar (cosine)", INK, font)
    for line, (query, neighbours) in enumerate(zip(queries, found, strict=True)):
        top = HEADING + GAP + line * (pitch + CAPTION)
        sheet.paste(_thumbnail(images[query]), (GAP, top))
        draw.text((GAP, top + THUMBNAIL + 3), _shorten(categories[query], draw, font, THUMBNAIL + GAP), INK, font)
        others = [row for row in neighbours if row >= 0 and products[row] != products[query]][:N_SIMILAR]
        for place, row in enumerate(others):
            left = right + place * pitch
            sheet.paste(_thumbnail(images[row]), (left, top))
            colour = INK if categories[row] == categories[query] else MISS
            draw.text((left, top + THUMBNAIL + 3), f"{cosine(embeddings[query], embeddings[row]):.2f}", colour, font)
    return sheet


def worst_mistakes(table: pd.DataFrame, rows: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """The test photos that were assigned to another category with the greatest confidence, one per product.

    `rows` `(T,)` number the photos in `table` (training data), `probabilities` `(T, n_categories)` are theirs. Gives
    row, assigned (label) and probability, the most confident first; fewer than twelve if there are fewer mistakes.
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
    surest = mistakes.sort_values("probability", ascending=False, kind="stable").drop_duplicates("product_id")
    return surest.head(N_MISTAKES).drop(columns="product_id").reset_index(drop=True)


def mistakes_sheet(images: Images, table: pd.DataFrame, mistakes: pd.DataFrame, names: list[str]) -> Image.Image:
    """Photos with their category, and in red the one they were assigned to and its probability.

    `images` `(N, S, S, 3) uint8`, `mistakes` as `worst_mistakes` gives them, `names` of the categories by label.
    """
    font = ImageFont.load_default(size=12)
    n_rows = max(1, -(-len(mistakes) // MISTAKES_A_ROW))
    pitch = THUMBNAIL + 2 * CAPTION + GAP
    sheet = Image.new("RGB", (GAP + MISTAKES_A_ROW * MISTAKE_WIDTH, HEADING + GAP + n_rows * pitch), "white")
    draw = ImageDraw.Draw(sheet)
    heading = "the worst mistakes: the category of the photo, the one it was assigned to, and with what probability"
    draw.text((GAP, GAP), heading if len(mistakes) else "no test photo was assigned to another category", INK, font)
    for place, mistake in enumerate(mistakes.itertuples()):
        left = GAP + place % MISTAKES_A_ROW * MISTAKE_WIDTH
        top = HEADING + GAP + place // MISTAKES_A_ROW * pitch
        sheet.paste(_thumbnail(images[mistake.row]), (left, top))
        room = MISTAKE_WIDTH - GAP
        truth = _shorten(names[table["label"].iloc[mistake.row]], draw, font, room)
        guess = _shorten(names[mistake.assigned], draw, font, room - draw.textlength("0.00  ", font))
        draw.text((left, top + THUMBNAIL + 3), truth, INK, font)
        draw.text((left, top + THUMBNAIL + 3 + CAPTION), f"{mistake.probability:.2f}  {guess}", MISS, font)
    return sheet


def first_of_each(table: pd.DataFrame, n: int) -> np.ndarray:
    """The first test image, in the table's order, of `n` categories spread over all: chosen without looking."""
    first = table[table["split"] == "test"].drop_duplicates("category").sort_values("category").index.to_numpy()
    chosen: np.ndarray = first[np.linspace(0, len(first) - 1, min(n, len(first))).round().astype(int)]
    return chosen


def _thumbnail(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)


def _shorten(
    text: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: float
) -> str:
    while draw.textlength(text, font) > room:
        text = text.removesuffix("…")[:-1].rstrip(" ,&") + "…"
    return text
