"""The version that products come from."""

NAME = "0.1.0"
COMMIT = "9af80e6cfc1f52a8cf41834eabb4ad5dcf95411b"
"""By commit, because tags are not in every clone."""
TOOLS = "4f3056f14de3287e9761e5359dbdb0bb4682f9be"
"""The commit whose `make rename`, `make remove` and `make entity` make the product; "" if the version has its own."""
TOOL_EDITS = {
    "dev/parts/manifest/posts.toml": '\n[edits."tests/test_outage.py"]\nlines = ["^    post = "]\n',
}
"""What is appended to files of `TOOLS`, where the version differs from the code that they were written for."""
