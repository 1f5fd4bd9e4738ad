"""What objects say of one another: settings, secrets, selectors, ports, names."""

from tests.manifests import reference_rules
from tests.manifests.objects import Manifests


def test_every_variable_is_a_setting(overlay: Manifests) -> None:
    """What a service is told is a setting it has, with a value it takes: no typo is dropped in silence."""
    assert reference_rules.unknown_settings(overlay) == []


def test_every_reference_resolves(overlay: Manifests) -> None:
    """ConfigMaps, Secrets and keys that Pods refer to are there."""
    assert reference_rules.unresolved(overlay) == []


def test_every_secret_is_made(overlay: Manifests) -> None:
    """`make secrets` makes each key that a container asks for."""
    assert reference_rules.unmade_secrets(overlay) == []


def test_secrets_stay_in_secrets(overlay: Manifests) -> None:
    """No password stands in a ConfigMap or in a Pod's specification."""
    assert reference_rules.plain_secrets(overlay) == []


def test_everything_leads_somewhere(overlay: Manifests) -> None:
    """Services and all that selects, scales or routes find Pods and ports."""
    assert reference_rules.dead_ends(overlay) == []


def test_workloads_select_their_own(overlay: Manifests) -> None:
    """No workload takes the Pods of another for its own; selectors cannot be changed later."""
    assert reference_rules.crossed_selectors(overlay) == []


def test_jobs_can_be_applied_again(overlay: Manifests) -> None:
    """Applying the same again, other secrets or another version never asks to change a Job that is there."""
    assert reference_rules.changing_jobs(overlay) == []


def test_names_are_taken(overlay: Manifests) -> None:
    """The API server takes every name, and everything is in our namespace."""
    assert reference_rules.bad_names(overlay) == []
