"""Kubernetes' own schemas, as the package kubernetes-validate carries them: is an object what the API takes?

Strict: a field that the schema does not know is wrong, as a typo would otherwise be dropped in silence. The package's
own function reads 3 MB of definitions for each object; here that happens once per version.
"""

import json
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
from referencing import Registry, Resource

VERSIONS = ("1.34", "1.36")
"""What is checked against: a version that many still run, and the one that the manifests are tried on."""

CUSTOM = ("HTTPRoute", "PodMonitor", "PrometheusRule")
"""Kinds of our components that come with CRDs, of which nobody here has a schema."""


class NoSchema(Exception):
    """The API of that version has no such kind."""


def problems(objects: Iterable[dict[str, Any]], version: str) -> list[str]:
    """Return a line for each thing about `objects` that the API of `version` (such as "1.36") would not take."""
    found = []
    for thing in objects:
        if thing["kind"] in CUSTOM:
            continue
        name = f"{thing['kind']} {thing['metadata']['name']}"
        try:
            validator = _validator(version, thing["kind"].lower(), thing["apiVersion"])
        except NoSchema:
            found.append(f"{name}: {thing['apiVersion']} has no such kind")
            continue
        found += [f"{name}: {error.json_path}: {error.message}" for error in validator.iter_errors(thing)]
    return found


@cache
def _validator(version: str, kind: str, api_version: str) -> Any:
    # networking.k8s.io/v1 -> networking-v1, apps/v1 -> apps-v1, v1 -> v1
    group, _, level = api_version.rpartition("/")
    place = f"{group.partition('.')[0]}-{level}" if group else level
    try:
        schema = _read(version, f"{kind}-{place}.json")
    except FileNotFoundError:
        raise NoSchema from None
    registry = Resource.from_contents(schema) @ _definitions(version)
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def _definitions(version: str) -> "Registry[Any]":
    registry: Registry[Any] = Registry()
    return (Resource.from_contents(_read(version, "_definitions.json")) @ registry).crawl()


def _read(version: str, name: str) -> Any:
    schemas = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    exact = [place for place in schemas.iterdir() if place.name.startswith(f"v{version}.")]
    strict = next(place for place in exact if place.name.endswith("-local-strict"))
    return json.loads((strict / name).read_text())
