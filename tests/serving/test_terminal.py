"""Answers in the terminal, of products with odd names."""

import json
from decimal import Decimal

import pytest

from marketplace.common.console import CONTROL_CHARACTERS
from marketplace.recommendation.products import Product
from marketplace.serving.answers import Answer, SimilarProduct, VisibleCategory
from marketplace.serving.terminal import print_answer, print_json

ODD = "[/red] :smile: \x1b]0;owned\x07\x9b31m\u202e"


def make_answer() -> Answer:
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
    similar = SimilarProduct(
        rank=1,
        score=0.5,
        same_photo=False,
        same_text=False,
        probability=None,
        close=None,
        image_id=ODD,
        product=product,
    )
    visible = VisibleCategory(category=ODD, probability=0.5)
    return Answer(visible=[visible], same=[similar], similar=[similar], corrected=ODD)


def test_a_table_shows_names_literally_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_answer(ODD, ODD, make_answer(), lambda product_id: product_id)
    output = capsys.readouterr().out
    assert not CONTROL_CHARACTERS.search(output)
    assert output.count("[/red] :smile:") == 14


def test_an_empty_answer_blames_no_filter(capsys: pytest.CaptureFixture[str]) -> None:
    print_answer("椅子", "", Answer(visible=[], same=[], similar=[], corrected=None), str)
    assert capsys.readouterr().out.splitlines() == ["椅子", "", "No products match."]


def test_json_has_the_same_names_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(make_answer())
    output = capsys.readouterr().out
    assert not CONTROL_CHARACTERS.search(output)
    assert json.loads(output)["similar"][0]["product"]["name"] == ODD
