from collections import Counter

import tiny

from etude.config.registry import build
from etude.plugins.data._stdlib_text import docstrings


def test_each_docstring_of_the_largest_modules_has_the_name_of_its_module() -> None:
    records = list(build(tiny.part("data", "docs_modules", n_modules=3)).records())
    modules = Counter(one.name.partition(".")[0] for one in docstrings())
    assert Counter(record.label for record in records) == dict(modules.most_common(3))
    names = {one.text: one.name for one in docstrings()}
    assert all(names[record.text].split(".")[0] == record.label for record in records)
