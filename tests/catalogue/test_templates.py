"""Generated sentences: templates of many kinds are left out, and sellers' own sentences stay."""

import logging
import random
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from helpers.dumps import fetch_and_clean, small_dump
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.catalogue.repair import clean_products
from marketplace.catalogue.seller_texts import repair_text
from marketplace.catalogue.template_search import Listing
from marketplace.catalogue.templates import CutDescriptions, cut_templates, leave_out_templates, make_listing
from marketplace.raw.rejects import Rejects
from marketplace.raw.tables import read_table

NAMES = ("Jo", "Ann", "Marek", "Zoë", "José", "O'Neil", "Li", "Priya", "Hans", "Ulla", "Kim")
CATEGORIES = ("Home & Garden / Sofas", "Home & Garden / Beds / Double Beds", "Shoes / Boots", "Books", "Music / CDs")
LOCATIONS = ("Leeds, West Yorkshire", "York", "Bath, Somerset", "Hackney, London")
DESCRIPTIONS = (
    "Nice sofa, hardly used",
    "Warm coat.",
    "Collection from Leeds.",
    "Used but in good condition.",
    "Size 12",
    "No time wasters please!",
    "Great Boots for sale",
    "Brand new. Bought 2019",
    "",
    "Posted in a box by courier. Thanks",
    "Solid Oak Table",
)
POSTED = "Posted by {name} in {leaf} in {town}. {date}"
GENERATED = (
    "Posted by {name} in {levels} in {town}. {date}",
    "Ad posted on {date} by {name}, {town}",
    "Ad posted on {date} by {name}, {town}.",
    "Listed in {path}, ref {code}",
    "Listed in {path}, ref #{code}.",
    "Eingestellt von {name} in {levels} in {town} am {day:02}.03.2022",
    "Anzeige von {name} in der Kategorie {leaf}, {location}, {day}. März 2022",
    "Publié par {name} dans {levels} à {town} le {day} février 2022",
    "Publicado por {name} en {leaf}, {town}, el {day} de enero de 2022",
    "{date}: {name} listed this in {leaf}, {town}.",
    "{leaf} in {town}, offered by {name} on 2022-01-{day:02}",
    "In {town} added by {name} under {path}",
    "Seller: {name} | Location: {town} | Category: {levels}",
    "Added March {day}, 2022. Posted by {name} in {leaf}.",
    "(Posted in {leaf} by {name})",
    "Posted by {name} on {date}",
)
SELLERS = (
    "Collection only, cash on delivery",
    "No time wasters please",
    "Used but in good condition",
    "Size {small}",
    "Collection from {town}",
    "Collection from {town}, call {name} on 07700 900{small}",
    "Collection only from {location}, after {small}pm please.",
    "Measures {small} x {day} x {small} cm",
    "Can deliver within {day} miles of {town} for £{small}",
    "RRP £{day}, will accept £{small}",
    "Available until {date}",
    "Selling my {leaf} because I am moving",
    "Brand {name}, size {small}",
)


class Shop:
    """Listings with random fields, some of them with a sentence after or before their description."""

    def __init__(self, sentence: str, edge: str, descriptions: Sequence[str], share: float) -> None:
        rng = random.Random(0)
        self.descriptions = list(descriptions)
        self.listings: list[Listing] = []
        for description in descriptions:
            category = rng.choice(CATEGORIES)
            location = rng.choice(LOCATIONS)
            levels = category.split(" / ")
            day = rng.randint(1, 28)
            fields = {
                "name": rng.choice(NAMES),
                "leaf": levels[-1],
                "levels": ", ".join(levels[-2:]),
                "path": " > ".join(levels),
                "location": location,
                "town": location.split(",")[0],
                "day": day,
                "date": f"{day} {rng.choice(('January', 'March', 'May'))} 202{rng.randint(0, 3)}",
                "code": rng.randint(10_000, 99_999),
                "small": rng.randint(4, 20),
            }
            text = description
            if rng.random() < share:
                parts = [description, sentence.format(**fields)]
                text = " ".join(parts if edge == "end" else reversed(parts)).strip()
            self.listings.append(make_listing(text, category, location))

    def cut(self) -> CutDescriptions:
        return cut_templates(self.listings)


def draw(n: int) -> list[str]:
    return random.Random(1).choices(DESCRIPTIONS, k=n)


@pytest.mark.parametrize("edge", ["end", "beginning"])
@pytest.mark.parametrize("sentence", GENERATED)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_generated_sentences_are_left_out(sentence: str, edge: str, share: float) -> None:
    shop = Shop(sentence, edge, draw(200), share)
    assert shop.cut().descriptions == shop.descriptions


@pytest.mark.parametrize("edge", ["end", "beginning"])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("sentence", SELLERS)
def test_sellers_sentences_stay(sentence: str, share: float, edge: str) -> None:
    shop = Shop(sentence, edge, draw(200), share)
    result = shop.cut()
    assert result.descriptions == [listing.description for listing in shop.listings]
    assert result.n_cut == {}


@pytest.mark.parametrize("edge", ["end", "beginning"])
def test_a_name_may_come_first(edge: str) -> None:
    shop = Shop("{name} posted this in {levels} in {town} on {date}", edge, ["Nice sofa, hardly used."] * 60, 0.6)
    assert shop.cut().descriptions == shop.descriptions


@pytest.mark.parametrize("edge", ["end", "beginning"])
@pytest.mark.parametrize("descriptions", [["Second-hand"] * 80, [f"Item {n} in good condition" for n in range(80)]])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_words_that_all_sellers_write_are_no_part_of_a_template(
    descriptions: list[str], edge: str, share: float
) -> None:
    shop = Shop(POSTED, edge, descriptions, share)
    assert shop.cut().descriptions == descriptions


@pytest.mark.parametrize(("share", "n_cut"), [(0.3, 0), (1.0, 20)])
def test_twenty_products_are_enough_if_most_have_the_sentence(share: float, n_cut: int) -> None:
    shop = Shop(POSTED, "end", draw(20), share)
    assert sum(shop.cut().n_cut.values()) == n_cut


def test_a_sentence_that_is_the_same_everywhere_is_a_sellers() -> None:
    listings = [
        make_listing(f"Item {n}. We sell Books in Leeds since 1 March 2002", "Books", "Leeds") for n in range(50)
    ]
    assert cut_templates(listings).n_cut == {}


def test_a_sentence_inside_a_description_is_left_out_too() -> None:
    shop = Shop(POSTED, "end", draw(100), 1.0)
    last = shop.listings[-1]
    shop.listings[-1] = last._replace(description=f"{last.description} Will not split")
    assert shop.cut().descriptions[-1] == f"{shop.descriptions[-1]} Will not split".strip()


def test_the_log_quotes_the_template_without_names(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(POSTED, "end", draw(100), 1.0)
    products = pd.DataFrame(
        {
            "product_description": [listing.description for listing in shop.listings],
            "category_path": [" / ".join(listing.labels) for listing in shop.listings],
            "location": [listing.places[0] for listing in shop.listings],
        },
        index=range(5, 105),
    )
    with caplog.at_level(logging.INFO):
        descriptions, n_cut = leave_out_templates(products)
    assert descriptions.tolist() == shop.descriptions
    assert descriptions.index.equals(products.index)
    assert n_cut == 100
    assert caplog.messages == ['left a generated sentence out of 100 descriptions: "Posted by … in … in …. …"']


def test_the_name_of_an_only_seller_is_not_quoted() -> None:
    shop = Shop("Posted by Jo in {leaf} in {town}. {date}", "end", draw(100), 1.0)
    assert [template.quote() for template in shop.cut().n_cut] == ["Posted by … in … in …. …"]


TEXTS = st.lists(st.text(max_size=80).map(repair_text), min_size=1, max_size=60)


@given(TEXTS, st.randoms(use_true_random=False))
def test_texts_without_a_template_come_back_unchanged(texts: list[str], rng: random.Random) -> None:
    listings = [make_listing(text, rng.choice(CATEGORIES), rng.choice(LOCATIONS)) for text in texts]
    result = cut_templates(listings)
    assert result.descriptions == texts
    assert result.n_cut == {}


WORDS = st.sampled_from(
    ["old", "red", "sofa", "lamp", "works", "fine", "Leeds", "12", "£5", ".", "!", ",", "-", "Ikea"]
)
# A name that is followed by a comma would be taken for a part of the sentence before it.
SENTENCES = st.lists(WORDS, max_size=12).map(lambda words: " ".join(words).lstrip(",-.! "))


@hypothesis_settings(max_examples=50)
@given(
    st.lists(SENTENCES, min_size=60, max_size=90, unique=True),
    st.sampled_from(GENERATED),
    st.sampled_from(["end", "beginning"]),
    st.floats(0.4, 1),
)
def test_leaving_out_undoes_adding(descriptions: list[str], sentence: str, edge: str, share: float) -> None:
    shop = Shop(sentence, edge, descriptions, share)
    result = shop.cut()
    assert result.descriptions == descriptions
    assert result == shop.cut()


def test_generated_sentences_of_the_real_marketplace_are_left_out(market: Path) -> None:
    table = read_table((market / "products.csv").read_bytes(), "products.csv")
    products = clean_products(table.rows, Rejects())
    before = products["product_description"]
    after, n_cut = leave_out_templates(products)
    is_generated = before.str.contains("Posted by [A-Z]")
    is_cut = before != after
    assert is_generated.sum() > 200
    assert n_cut == is_cut.sum()
    assert not is_cut[~is_generated].any()
    assert after.str.contains("Posted by [A-Z]").sum() < 0.02 * is_generated.sum()


def test_clean_counts_the_sentences(tmp_path: Path) -> None:
    dump = small_dump(96)
    leaves = dump.products["category"].str.split(" / ").str[-1]
    dump.products["product_description"] = [
        f"Second-hand. Posted by {NAMES[number % len(NAMES)]} in {leaf}. {1 + number % 28} March 2022"
        for number, leaf in enumerate(leaves)
    ]
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    assert set(result.training_data["product_description"]) == {"Second-hand."}
    assert result.counts["generated_sentences_left_out"] == 96
