"""What the developers of the product have changed by hand, in the files that most products change."""

import re
from collections.abc import Callable, Mapping

SHOP_SETTINGS = '''class ShopSettings(SettingsBase):
    """What the shop needs."""

    SHOP_CURRENCY: str = "EUR"


'''


def _main(text: str) -> str:
    return f"{text}app.state.currency = settings.SHOP_CURRENCY\n"


def _settings(text: str) -> str:
    text = text.replace("class Settings(\n", f"{SHOP_SETTINGS}class Settings(\n")
    return re.sub(r"(class Settings\(\n(?:    \w+,\n)+)", r"\1    ShopSettings,\n", text)


def _example(text: str) -> str:
    return f'{text}\n# ------------- shop -------------\nSHOP_CURRENCY="EUR"\n'


def _routers(text: str) -> str:
    """The products come first."""
    first = "router.include_router(products_router)\n"
    imported = "from app.api.v1.products import router as products_router\n"
    text = (
        text
        if imported in text
        else text.replace("from app.api.v1.rate_limits", f"{imported}from app.api.v1.rate_limits")
    )
    text = text.replace(first, "")
    return re.sub(r"(?m)^(router = APIRouter\(.*\)\n)", rf"\1{first}", text)


def _readme(text: str) -> str:
    opening = re.compile(r"(?s)(?<=</p>\n\n)For teams .*?(?=```sh)")
    text = opening.sub("The shop's API. Ask Ann before you change the prices:\n\n", text, count=1)
    text = re.sub(
        r"(?m)^(\| `ENVIRONMENT` \|.*\n)",
        r"\1| `SHOP_CURRENCY` | `EUR` | the currency of all prices |\n",
        text,
        count=1,
    )
    text = re.sub(r"(?m)^(- \[11\. .*\n)", r"\1- [The shop](#the-shop)\n", text, count=1)
    return f"{text}\n## The shop\n\nPrices include VAT.\n"


def _project(text: str) -> str:
    text = re.sub(r'(?m)^version = ".*"$', 'version = "3.4.1"', text, count=1)
    return re.sub(r'(?m)^description = ".*"$', 'description = "The shop."', text, count=1)


EDITS: Mapping[str, Callable[[str], str]] = {
    "src/app/main.py": _main,
    "src/app/core/config.py": _settings,
    "src/app/api/v1/__init__.py": _routers,
    "src/.env.example": _example,
    "README.md": _readme,
    "pyproject.toml": _project,
}
LOCK = "poetry.lock"
"""Changed too, as by an update of a package. A merge takes the template's."""


def changed_lock(text: str) -> str:
    return re.sub(r'(?m)^content-hash = ".*"$', f'content-hash = "{"0" * 64}"', text)
