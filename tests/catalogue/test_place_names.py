"""Places: one spelling for each, as for categories."""

from marketplace.catalogue.places import parse_places


def test_the_spellings_of_a_place_merge_into_the_commonest() -> None:
    texts = [
        "Leeds, West Yorkshire",
        "LEEDS , west  yorkshire",
        "Ｌｅｅｄｓ,West Yorkshire",
        "Leeds&#44; West Yorkshire",
    ]
    assert parse_places([*texts, texts[0]]) == ["Leeds, West Yorkshire"] * 5
    assert parse_places(["Saint\u00ades", "Saintes", "SAINTES", "Saintes"]) == ["Saintes"] * 4


def test_a_part_of_a_place_is_merged_wherever_it_stands() -> None:
    assert parse_places(["Leeds", "Leeds", "LEEDS, Kent"]) == ["Leeds", "Leeds", "Leeds, Kent"]


def test_placeholders_are_no_place() -> None:
    assert parse_places(["N/A", " - ", "unknown", "Leeds, N/A", "", "Nantes"]) == ["", "", "", "Leeds", "", "Nantes"]


def test_other_signs_stay() -> None:
    places = ["Cafe\u0301 St., l'Île", "Stoke-on-Trent / Stone", "A (B)"]
    assert parse_places(places) == ["Café St., l'Île", *places[1:]]
