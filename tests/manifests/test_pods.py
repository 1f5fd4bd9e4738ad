"""Pods and their containers: what each must have and must not."""

from tests.manifests import pod_rules
from tests.manifests.objects import Manifests


def test_what_serves_answers_three_questions(overlay: Manifests) -> None:
    """Started, alive and ready are three questions, asked at the internal port."""
    assert pod_rules.lacks_probes(overlay) == []


def test_everything_is_bounded(overlay: Manifests) -> None:
    """Every container has requests and limits, every scratch volume a size."""
    assert pod_rules.unbounded(overlay) == []


def test_pods_are_restricted(overlay: Manifests) -> None:
    """Every container, those of Jobs too, keeps to Pod Security `restricted` and cannot write its root."""
    assert pod_rules.unrestricted(overlay) == []


def test_the_namespace_demands_it(overlay: Manifests) -> None:
    """The namespace itself refuses Pods that are less restricted."""
    labels = overlay.get("Namespace", "parley")["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")} == {"restricted"}


def test_images_have_versions(overlay: Manifests) -> None:
    """No image is whatever is newest; ours have the version of the code."""
    assert pod_rules.loose_images(overlay) == []


def test_nobody_holds_a_token(overlay: Manifests) -> None:
    """No Pod is given a token of the API server."""
    assert pod_rules.tokens(overlay) == []


def test_services_make_no_settings(overlay: Manifests) -> None:
    """The variables of Services stay out, whose names are those of our settings."""
    assert pod_rules.service_variables(overlay) == []


def test_mounts_fit(overlay: Manifests) -> None:
    """Every mount has its volume and the reverse, none inside another."""
    assert pod_rules.bad_mounts(overlay) == []


def test_there_is_room_to_write(overlay: Manifests) -> None:
    """Below a root that nobody writes, DATA_DIR and /tmp can be written."""
    assert pod_rules.nowhere_to_write(overlay) == []
