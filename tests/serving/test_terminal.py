"""Answers in the terminal, of products with odd names."""

import json
from decimal import Decimal

import pytest

from marketplace.common.console import CONTROL_CHARACTERS
from marketplace.recommendation.products import Product
from marketplace.serving.answers import SimilarProduct
from marketplace.serving.terminal import print_json, print_table

ODD = "[/red] :smile: \x1b]0;owned\x07\x9b31m\u202e"


def make_answer() -> SimilarProduct:
    product = Product(
        product_id=ODD,
        name=ODD,
        description=ODD,
        category=f"{ODD} / {ODD}",
        price=Decimal(1),
        currency="£",
        location=ODD,
        image_ids=(ODD,),
    )
    return SimilarProduct(
        rank=1,
        score=0.5,
        same_photo=False,
        same_text=False,
        probability=None,
        close=None,
        image_id=ODD,
        product=product,
    )


def test_a_table_shows_names_literally_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(ODD, ODD, [make_answer()], lambda product_id: product_id)
    output = capsys.readouterr().out
    assert not CONTROL_CHARACTERS.search(output)
    assert output.count("[/red] :smile:") == 7


def test_json_has_the_same_names_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([make_answer()])
    output = capsys.readouterr().out
    assert not CONTROL_CHARACTERS.search(output)
    assert json.loads(output)[0]["product"]["name"] == ODD
