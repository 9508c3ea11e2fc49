"""The description of the API: valid, complete, and what the API really does, over incidents of every kind."""

import json
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from filled_site import Site, diagnosed, fill, site
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from engram_diagnose.service.api import api_routes
from engram_diagnose.service.openapi import openapi

PATHS = ("/api/v1/alerts", *(f"/api/v1/incidents{rest}" for rest in ("", "/{id}", "/{id}/alerts", "/{id}/timeline",
         "/{id}/document", "/{id}/bundle", "/{id}/notes", "/{id}/retry")), "/api/v1/openapi.json")  # fmt: skip


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Site:
    found = site(tmp_path_factory.mktemp("full") / "history.db")
    fill(found, 3, 30)
    return found


@pytest.fixture(scope="module")
def ids(full: Site) -> list[str]:
    return [one["id"] for one in full.browser().get("/api/v1/incidents?limit=200").json()["incidents"]]


@pytest.fixture(scope="module")
def described(full: Site) -> Any:
    """The API as schemathesis reads it."""
    return schemathesis.openapi.from_dict(full.browser().get("/api/v1/openapi.json").json())


def test_it_describes_every_route_and_no_other(full: Site) -> None:
    described = openapi("http://localhost")
    served = {route.path for route in api_routes(full.services) if "{rest" not in route.path}  # type: ignore[attr-defined]
    assert set(described["paths"]) == served | {"/api/v1/alerts"} == set(PATHS)


def test_every_error_is_described_and_is_a_problem() -> None:
    for path, methods in openapi("http://localhost")["paths"].items():
        for method in ("get", "post"):
            for status, answer in methods.get(method, {}).get("responses", {}).items():
                if int(status) >= 400:
                    assert set(answer["content"]) == {"application/problem+json"}, (path, method, status)
    document = openapi("http://localhost")["paths"]["/api/v1/incidents/{id}/document"]["get"]["responses"]
    assert set(document) == {"200", "304", "401", "403", "404", "421", "503"}


def test_every_reference_leads_somewhere() -> None:
    described = openapi("http://localhost")
    text = json.dumps(described)
    for part in text.split('"$ref": "')[1:]:
        name = part.partition('"')[0].removeprefix("#/components/schemas/")
        assert name in described["components"]["schemas"], name


def test_the_description_of_a_diagnosis_is_the_published_one() -> None:
    schemas = openapi("http://localhost")["components"]["schemas"]
    whole = {"$ref": "#/components/schemas/Diagnosis", "components": {"schemas": schemas}}
    jsonschema.Draft202012Validator(whole).validate(diagnosed())


def test_every_answer_about_every_incident_is_as_described(full: Site, ids: list[str], described: Any) -> None:
    for id in ids:
        for path in PATHS[2:8]:
            case = described[path]["GET"].Case(path_parameters={"id": id})
            response = full.browser().get(path.replace("{id}", id))
            assert response.status_code in (200, 404)
            described[path]["GET"].validate_response(response, case=case)


OPERATIONS = [
    (method.upper(), path)
    for path, methods in openapi("http://localhost")["paths"].items()
    for method in methods
    if method in ("get", "post")
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nothing_that_is_sent_makes_it_fail_or_answer_otherwise(
    full: Site, ids: list[str], described: Any, method: str, path: str
) -> None:
    """What the description allows, and what it does not: never a 5xx, always an answer that it describes."""
    checked(full, ids, described[path][method])


def checked(full: Site, ids: list[str], operation: Any) -> None:
    browser = full.browser()
    modes = [schemathesis.GenerationMode.POSITIVE]
    if operation.path != "/api/v1/openapi.json":  # nothing can be said wrongly to it
        modes.append(schemathesis.GenerationMode.NEGATIVE)
    # What Prometheus allows in labels and their times is more than a schema can say; and a malformed alert beside
    # others is left out, which is no refusal.
    excluded = [positive_data_acceptance, negative_data_rejection] if operation.path == "/api/v1/alerts" else []
    for mode in modes:

        @settings(
            max_examples=40, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode), id=st.sampled_from([*ids, None]))
        def check(case: Any, id: str | None) -> None:
            if id is not None and "id" in (case.path_parameters or {}):
                case.path_parameters["id"] = id
            sent = requests.Request(**case.as_transport_kwargs(base_url="http://127.0.0.1:7433")).prepare()
            response = browser.request(
                str(sent.method), str(sent.url), headers=dict(sent.headers), content=sent.body or b""
            )
            assert response.status_code < 500, response.text
            case.validate_response(response, excluded_checks=excluded)

        check()
