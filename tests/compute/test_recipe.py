from pathlib import Path

from marketplace.compute.recipe import recipe, recipe_id


def test_a_recipe_changes_with_the_code_and_with_each_input(tmp_path: Path) -> None:
    code = tmp_path / "module.py"
    code.write_text("one")
    recipes = [recipe([str(code)], [], size=64), recipe([str(code)], [], size=96), recipe([str(code)], ["numpy"])]
    code.write_text("another")
    recipes.append(recipe([str(code)], [], size=64))
    assert len({recipe_id(content) for content in recipes}) == 4
    assert recipe([str(code)], [], size=64) == recipes[-1]
