"""Cells of a notebook, run one after the other in this process, which has Keras already; no kernel is started."""

import ast
import json

FORMS = ("_repr_html_", "_repr_png_")  # that notebooks prefer to the line of Python, unless they are None


def read(path):
    """Return a notebook."""
    return json.loads(path.read_text(encoding="utf-8"))


def source_of(cell):
    return "".join(cell["source"])


def run(path, names):
    """Run the code of a notebook with `names`, and yield what notebooks would show at the end of each of its cells."""
    for number, cell in enumerate(read(path)["cells"]):
        if cell["cell_type"] == "code":
            code, where = ast.parse(source_of(cell)), f"{path.name}, cell {number}"
            last = code.body.pop() if isinstance(code.body[-1], ast.Expr) else None
            exec(compile(code, where, "exec"), names)
            if last is not None:
                shown = eval(compile(ast.Expression(last.value), where, "eval"), names)
                forms = (getattr(shown, form)() for form in FORMS if hasattr(shown, form))
                yield next((form for form in forms if form is not None), repr(shown))
