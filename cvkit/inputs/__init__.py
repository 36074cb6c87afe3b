"""Find, name and open the input files of a command."""

from cvkit.inputs.finding import Input, check_stdin_is_unshared, find_inputs, reads_stdin
from cvkit.inputs.folders import RESULT_MARK, FoundPath, is_image_name, search_folder
from cvkit.inputs.opening import open_file, open_text
from cvkit.inputs.stems import folders_of, shorten, without_suffix

__all__ = [
    "RESULT_MARK",
    "FoundPath",
    "Input",
    "check_stdin_is_unshared",
    "find_inputs",
    "folders_of",
    "is_image_name",
    "open_file",
    "open_text",
    "reads_stdin",
    "search_folder",
    "shorten",
    "without_suffix",
]
