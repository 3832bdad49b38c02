"""The list of mistakes for `python -m tests.mutations`: each still finds its place, and no module is left out."""

import pytest

from helpers.lab import cache
from tests.mutations import MUTATIONS


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.file}-{mutation.test}")
def test_it_finds_its_place_and_its_test(mutation):
    assert (cache.PROJECT / mutation.file).read_text().count(mutation.before) == 1
    file, _, test = mutation.test.partition("::")
    assert f"\ndef {test.partition('[')[0]}(" in (cache.PROJECT / file).read_text()


def test_every_module_has_one():
    modules = {str(path.relative_to(cache.PROJECT)) for path in cache.PROJECT.glob("helpers/**/*.py")}
    assert {path for path in modules if "__" not in path} <= {mutation.file for mutation in MUTATIONS}
