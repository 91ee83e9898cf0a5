"""Changes of docs/architecture.md, as edits of a copy of the project; `changed_project` tries the result."""

from pathlib import Path

from tests.support.readme import blocks

Edits = tuple[tuple[str, str], ...]

USER_FIELD: dict[str, Edits] = {
    "src/app/models/user.py": (
        (
            "    is_superuser: Mapped[bool]",
            "    nickname: Mapped[str | None] = mapped_column(String(9), default=None)\n    is_superuser: Mapped[bool]",
        ),
    ),
    "src/app/schemas/user.py": (
        ("    password: Password\n", "    password: Password\n    nickname: str | None = None\n"),
        ("    is_superuser: bool = False\n", "    is_superuser: bool = False\n    nickname: str | None = None\n"),
        ("    email: Annotated[str, _EMAIL]\n", "    email: Annotated[str, _EMAIL]\n    nickname: str | None\n"),
        ("    email: Email = omitted()\n", "    email: Email = omitted()\n    nickname: str | None = omitted()\n"),
    ),
    "src/app/crud/crud_users.py": (("    is_superuser: bool\n", "    is_superuser: bool\n    nickname: str | None\n"),),
}
_HASH = """    salt = secrets.token_bytes(16)
    return f'$scrypt${salt.hex()}${hashlib.scrypt(password.encode(), salt=salt, n=16, r=8, p=1).hex()}'"""
_COMPARISON = """    _, _, salt, hashed = hashed_password.split('$')
    computed = hashlib.scrypt(checked, salt=bytes.fromhex(salt), n=16, r=8, p=1)
    return hmac.compare_digest(computed.hex(), hashed) and checked == given"""
PASSWORD_HASH: dict[str, Edits] = {
    "src/app/core/security.py": (
        ("\nimport bcrypt\n", ""),
        ("    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds)).decode()", _HASH),
        ("    return f\"$2b${rounds:02}${'.' * 53}\"", "    return f'$scrypt${bytes(16).hex()}${bytes(64).hex()}'"),
        ("    return bcrypt.checkpw(checked, hashed_password.encode()) and checked == given", _COMPARISON),
    ),
    "src/app/models/user.py": (("mapped_column(String(60), repr=False)", "mapped_column(String(200), repr=False)"),),
}
USERNAME_RULE: dict[str, Edits] = {"src/app/schemas/user.py": (('r"^[a-z0-9]+$"', 'r"^[a-z0-9_]+$"'),)}
CONSTRAINT_TEXT: dict[str, Edits] = {
    "src/app/models/user.py": (("Email is already registered", "This address has an account"),)
}
SECURITY_HEADERS: dict[str, Edits] = {"src/app/middleware/security_headers.py": (('b"DENY"', 'b"SAMEORIGIN"'),)}
_STARLETTE = "from starlette.middleware import Middleware\n"
_ORIGINS = "        Middleware(origins) if origins else None,\n"
MIDDLEWARE: dict[str, Edits] = {
    "src/app/core/setup.py": (
        (_STARLETTE, f"{_STARLETTE}from starlette.middleware.gzip import GZipMiddleware\n"),
        (_ORIGINS, f"        Middleware(GZipMiddleware, minimum_size=10),\n{_ORIGINS}"),
    )
}
_VERSION_1 = 'router.include_router(v1_router, prefix="/api")\n'
SECOND_VERSION: dict[str, Edits] = {
    "src/app/api/__init__.py": (
        ("from app.api.v1 import", "from app.api.v2 import router as v2_router\nfrom app.api.v1 import"),
        (_VERSION_1, f'{_VERSION_1}router.include_router(v2_router, prefix="/api")\n'),
    )
}
VERSION_2 = """
from fastapi import APIRouter

from app.api.v1.health import router as health_router

router = APIRouter(prefix="/v2")
router.include_router(health_router)
"""
TOKENS = """
import base64, hashlib, hmac, json, time
from datetime import datetime

def _encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")

def _signature(message, settings):
    return _encode(hmac.digest(settings.SECRET_KEY.encode(), message, hashlib.sha256))

def sign(claims, settings):
    plain = {name: int(value.timestamp()) if isinstance(value, datetime) else value for name, value in claims.items()}
    message = b".".join(_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, plain))
    return (message + b"." + _signature(message, settings)).decode()

def verify(token, settings):
    try:
        message, _, signature = token.encode().rpartition(b".")
        if not hmac.compare_digest(signature, _signature(message, settings)):
            return None
        claims = json.loads(base64.urlsafe_b64decode(message.partition(b".")[2] + b"=="))
        return claims if claims["exp"] > time.time() and {"iat", "sub", "jti"} <= set(claims) else None
    except (ValueError, TypeError, KeyError):
        return None
"""
UUID_IDS = (
    ("from sqlalchemy import String,", "from uuid import UUID, uuid4\n\nfrom sqlalchemy import String,"),
    ("id: Mapped[int] = mapped_column(", "id: Mapped[UUID] = mapped_column(default_factory=uuid4, "),
    ("from typing import Annotated\n", "from typing import Annotated\nfrom uuid import UUID\n"),
    ('id: Annotated[int, Field(description="The number of the entity.", examples=[1])]', "id: UUID"),
    ("from sqlalchemy import bindparam, select", "from uuid import UUID\n\nfrom sqlalchemy import bindparam, select"),
    (", id: int", ", id: UUID"),
    ("from typing import Any\n", "from typing import Any\nfrom uuid import UUID\n"),
    ("id: PathId", "id: UUID"),
    ("Db, PathId", "Db"),
)  # fmt: skip
ALL_EDITS = (
    USER_FIELD,
    PASSWORD_HASH,
    USERNAME_RULE,
    CONSTRAINT_TEXT,
    SECURITY_HEADERS,
    MIDDLEWARE,
    SECOND_VERSION,
)


def change(project: Path) -> None:
    """Carries out the changes in the copy, and adds the README's entity with a UUID for its id."""
    for edits in ALL_EDITS:
        for name, replacements in edits.items():
            path = project / name
            path.write_text(_replaced(path.read_text(), replacements))
    (project / "src/app/core/signing.py").write_text(TOKENS)
    (project / "src/app/api/v2").mkdir()
    (project / "src/app/api/v2/__init__.py").write_text(VERSION_2)
    _add_entity(project)


def _replaced(text: str, replacements: Edits) -> str:
    for old, new in replacements:
        assert text.count(old) == 1, f"{text.count(old)} times: {old}"
        text = text.replace(old, new)
    return text


def _add_entity(project: Path) -> None:
    unused = {old for old, _ in UUID_IDS}
    for title in ("5.3 SQLAlchemy", "5.4 Pydantic", "5.6 CRUD", "5.7 Routes"):
        code = blocks(title, "python")[0]
        for old, new in UUID_IDS:
            if old in code:
                code = code.replace(old, new)
                unused.discard(old)
        (project / code.partition("\n")[0].removeprefix("# ")).write_text(code)
    assert not unused, unused
    with (project / "src/app/api/v1/__init__.py").open("a") as file:
        file.write(blocks("5.7 Routes", "python")[1])
