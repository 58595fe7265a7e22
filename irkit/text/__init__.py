"""The readable text form of models: the language of the golden tests and of `irkit show`. See docs/text_form.md."""

from irkit.text.parser import digests_of as digests_of, parse_model as parse_model
from irkit.text.printer import (
    print_graph as print_graph,
    print_model as print_model,
    print_node as print_node,
    type_text as type_text,
)
