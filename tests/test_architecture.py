"""Imports go one way, and importing the package costs nothing."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
ROOTS = {"lesionaug": "lesionaug", "integrations": "lesionaug.integrations", "pretrain": "lesionaug.pretrain"}

LAYERS = (
    {"errors", "types", "scan", "checks", "stopping"},
    {
        "intensity",
        "patches",
        "diffusion",
        "networks",
        "io",
        "folders",
        "layouts",
        "threads",
        "distributions",
        "contrast",
        "plan_options",
        "words",
    },
    {"store", "fingerprint", "prior_tables"},
    {"models", "room"},
    {"gate", "planning"},
    {"anatomy", "evolution", "filling", "rendering"},
    {"prior_fit"},
    {"prior"},
    {"cache", "serving"},
    {"synthesis", "assemble", "loaded", "record"},
    {
        "transform",
        "subjects",
        "dataset",
        "report",
        "files",
        "preview",
        "views",
        "demo",
        "variants",
        "render_transform",
        "anatomy_transform",
        "scan_parts",
        "augmenter",
        "torchio1",
    },
    {"cli", "commands", "integrations"},
)
"""A room sees its own layer and those before it."""

PRETRAIN_SEES = LAYERS.index({"prior"})
PRETRAIN_COMMAND = "lesionaug.commands.pretrain"
"""The one module that sees `pretrain`, and only when a program of it is called."""


def modules() -> dict[str, Path]:
    """Module name to file."""
    found = {}
    for folder, package in ROOTS.items():
        for path in (PROJECT / folder).rglob("*.py"):
            parts = path.relative_to(PROJECT / folder).with_suffix("").parts
            name = ".".join((package, *parts))
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def layer(module: str) -> int:
    return next((rank for rank, rooms in enumerate(LAYERS) if room(module) in rooms), -1)


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(node: ast.AST, *, inside_functions: bool) -> set[str]:
    """Modules of this project that a syntax tree imports when it runs."""
    found = set()
    for child in ast.iter_child_nodes(node):
        if is_for_types_only(child):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            continue
        if isinstance(child, ast.Import):
            found |= {alias.name for alias in child.names}
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import in line {child.lineno}"
            for alias in child.names:
                name = f"{child.module}.{alias.name}"
                found.add(name if name in MODULES else child.module)
        found |= imports(child, inside_functions=inside_functions)
    return {name for name in found if name in MODULES or name.split(".")[0] in (*ROOTS, "benchmarks", "tests")}


def imports_of(module: str, *, inside_functions: bool) -> set[str]:
    return imports(ast.parse(MODULES[module].read_text()), inside_functions=inside_functions)


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name != "lesionaug"))
def test_a_module_sees_only_what_lies_before_it(module):
    seen = imports_of(module, inside_functions=True) - {"lesionaug"}
    if room(module) == "pretrain":
        late = {name for name in seen if layer(name) > PRETRAIN_SEES or (layer(name) < 0 and room(name) != "pretrain")}
    else:
        assert layer(module) >= 0, f"say in LAYERS where {module} belongs"
        late = {name for name in seen if layer(name) > layer(module) or layer(name) < 0}
        if module == PRETRAIN_COMMAND:
            late = {name for name in late if room(name) != "pretrain"}
    assert not late


def test_the_command_line_imports_pretraining_only_when_it_is_asked_for():
    assert not {name for name in imports_of(PRETRAIN_COMMAND, inside_functions=False) if room(name) == "pretrain"}
    code = "import sys; from lesionaug.cli import main; main(['pretrain', '--help']); print('torch' in sys.modules)"
    assert run_python(code).endswith("False\n")


def test_nothing_is_imported_in_a_circle():
    graph = {module: imports_of(module, inside_functions=False) - {"lesionaug"} for module in MODULES}
    # A package's own name stands for its __init__, which sees its modules, never the other way round.
    assert list(TopologicalSorter(graph).static_order())


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys; before = set(sys.modules); import lesionaug; print(*set(sys.modules) - before)"
    heavy = {"torch", "torchio", "numpy", "scipy", "nibabel", "jaxtyping", "tyro", "rich"}
    assert not heavy & {name.split(".")[0] for name in run_python(code).split()}


def test_help_needs_no_torch():
    code = (
        "import sys\n"
        "from lesionaug.cli import main\n"
        "try: main(['synthesize', '--help'])\n"
        "except SystemExit: pass\n"
        "print('loaded:', 'torch' in sys.modules)"
    )
    assert run_python(code).endswith("loaded: False\n")


def test_public_names_are_there():
    import lesionaug

    assert set(lesionaug.__all__) == {"__version__", *lesionaug._HOME}
    for name in lesionaug.__all__:
        assert getattr(lesionaug, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lesionaug.nothing  # noqa: B018
