"""What a written document may look like in its format."""

from __future__ import annotations

from mappings.language.check import Block, Mistakes, Rule
from mappings.language.wires import XML_NAME


def check_written(block: Block, form: Rule, mistakes: Mistakes) -> None:
    """The blocks of `write:` can be said in the file's format."""
    if form.source == "csv":
        mistakes.at(form, "csv is only read")
    elif form.source == "form":
        for one in block.fields.values():
            if isinstance(one, Block):
                mistakes.at(one, "a form has no blocks and lists")
    elif form.source == "xml":
        _check_root(block, mistakes)
        _check_names(block, mistakes)


def _check_root(block: Block, mistakes: Mistakes) -> None:
    roots = list(block.fields.values())
    if len(roots) != 1 or not isinstance(roots[0], Block) or roots[0].rows or roots[0].optional:
        mistakes.at(block, "an XML document has exactly one outermost block, and it is neither a list nor optional")


def _check_names(block: Block, mistakes: Mistakes) -> None:
    for name, one in block.fields.items():
        attribute = isinstance(one, Rule) and (name == "." or name.startswith("@"))
        if not XML_NAME.fullmatch(name.removeprefix("@") if attribute else name) and name != ".":
            mistakes.at(one, f"{name!r} is no name of an XML element or attribute")
        if isinstance(one, Block):
            _check_names(one, mistakes)
