"""The API against its own description: everything that OpenAPI allows, and what it does not."""

from typing import Any, cast

import pandas as pd
import pytest
import schemathesis
from helpers.project import Project
from hypothesis import HealthCheck, settings
from starlette.types import Receive, Scope, Send

from marketplace.serving.application import create_application
from marketplace.serving.comparison import RevisionComparison
from marketplace.serving.preferences import ComparedTables
from marketplace.serving.recommender import Recommender

NO_PHOTO = {  # no schema says which bytes are a photo, which ids are known, and how long an address may be
    "include-path": "/api/similar",
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "413", "422"]},
        "negative_data_rejection": {"expected-statuses": ["4xx"]},
    },
}


class Served:
    """The application. It describes itself before there is a catalogue, so that tests can be made of that."""

    def __init__(self) -> None:
        self.app = create_application(cast(Recommender, None))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


served = Served()
schema = schemathesis.openapi.from_asgi(
    "/openapi.json", served, config=schemathesis.Config.from_dict({"operations": [NO_PHOTO]})
)


@pytest.fixture(scope="module", autouse=True)
def _catalogue(reproduced: Project) -> None:
    table = pd.read_parquet(reproduced.folder / "data/recommendations.parquet")
    now = table.groupby("product_id")["similar_product_id"].agg(list).to_dict()
    before = {product_id: similar_ids[::-1] for product_id, similar_ids in now.items()}
    comparison = RevisionComparison("main", before, now, ComparedTables(before="before", now="now"))
    served.app = create_application(Recommender(reproduced.folder), comparison=comparison)


@schema.parametrize()
@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_to_its_description(case: Any) -> None:
    """No server error; described statuses, headers and bodies; invalid questions are refused, valid ones are not."""
    case.call_and_validate()


def test_every_status_that_it_gives_is_described() -> None:
    paths = schema.raw_schema["paths"]
    similar = paths["/api/similar"]["post"]["responses"]
    assert set(similar) == {"200", "400", "404", "405", "408", "413", "422", "503"}
    assert "404" in paths["/api/products/{product_id}"]["get"]["responses"]
    models = {
        code: answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for code, answer in similar.items()
        if code != "200"
    }
    assert models.pop("404") == "UnknownProduct"
    assert set(models.values()) == {"Problem"}
