"""`make entity` and `make entity-remove`: what they refuse, write and delete. The README shows the same code."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.db.migrate import apply_migrations
from dev.entity import migration, readme
from dev.entity.__main__ import main
from dev.entity.commands import add, remove
from dev.entity.errors import EntityError
from dev.entity.git import changes
from dev.entity.names import Names, with_article
from dev.entity.project import ROUTERS
from dev.entity.random_entities import RandomEntity, random_entities
from dev.entity.trial import MYPY_CACHE, copy_project, files, known_targets, try_entities
from dev.parts import removal
from dev.parts.manifest import with_required
from dev.parts.staging import Staging
from dev.parts.verify import problems
from tests.conftest import Services
from tests.support.readme import README, ROOT

GADGET = "title:str(2..80) price:decimal(0..) stock:int(0..)? owner:user"
EVERYTHING = """
title:str(2..80)! body:text amount:int(0..)? price:decimal flag:bool day:date at:datetime key:uuid!? site:url?
mail:email kind:enum(new,used) buyer:user? seller:user owner:user
"""
TOOLS = {"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for commands that change nothing."""
    return copy_project(tmp_path_factory.mktemp("untouched"))


def git(project: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Tests", "-c", "user.email=tests@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=project, check=True, capture_output=True)


def commit(project: Path) -> None:
    git(project, "init", "-q", ".")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "All")


def test_the_readme_shows_what_the_command_writes() -> None:
    """Byte for byte; `python -m dev.entity.readme` puts it there."""
    text = README.read_text(encoding="utf-8")
    for path, code in readme.example().items():
        assert readme.block(path, code) in text, f"{path} differs: python -m dev.entity.readme"
    assert f'make entity NAME={readme.EXAMPLE[0]} FIELDS="{readme.EXAMPLE[1]}"' in text


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("", GADGET, "NAME=product"),
        ("Gadget", GADGET, "in lower case"),
        ("pro duct", GADGET, "in lower case"),
        ("../gadget", GADGET, "in lower case"),
        ("gadget_", GADGET, "in lower case"),
        ("p" * 31, GADGET, "at most 30 characters"),
        ("class", GADGET, "word of Python"),
        ("row_count", GADGET, "there is a table 'row_count' already"),
        ("users_me", GADGET, "there is an endpoint read_users_me already"),
        ("login", GADGET, "test_login.py exists already"),
        ("index", "name:str! owner:user", "'Index'"),
        ("gadget", "", 'FIELDS="title:str'),
        ("gadget", "owner:user", 'FIELDS="title:str'),
        ("gadget", "title", "name:type"),
        ("gadget", "title:", "name:type"),
        ("gadget", "title:str(", "name:type"),
        ("gadget", "title:str??", "name:type"),
        ("gadget", "Title:str", "in lower case"),
        ("gadget", "title:string", "there is no type and no other entity 'string'"),
        ("gadget", "gadget:gadget", "no other entity 'gadget'"),
        ("gadget", "title:str(8..2)", "the lower one first"),
        ("gadget", "title:str(2-8)", "write bounds as str(2..80)"),
        ("gadget", "title:str(..99999)", "bounds from 0 to 10000"),
        ("gadget", "size:int(0.5..)", "write bounds as int(2..80)"),
        ("gadget", "size:int(..9999999999)", "bounds from -2147483648"),
        ("gadget", "flag:bool(1..2)", "bool has no bounds"),
        ("gadget", "kind:enum", "two or more words"),
        ("gadget", "kind:enum(a,A)", "two or more words"),
        ("gadget", "body:text!", "! is for"),
        ("gadget", "stars:int(1..5)!", "too few values"),
        ("gadget", "id:int", "meaning of its own"),
        ("gadget", "read:bool", "meaning of its own"),
        ("gadget", "owner:str", "write owner:user"),
        ("gadget", "title:str title:str", "given twice"),
        ("gadget", "tier:tier tier_id:int", "given twice"),
        ("x" * 25, f"{'y' * 30}:uuid! {'z' * 30}:int owner:user", "too long a name for PostgreSQL"),
    ],
)
def test_wrong_input_gets_one_line_and_changes_nothing(
    untouched: Path, capsys: pytest.CaptureFixture[str], name: str, fields: str, message: str
) -> None:
    before = files(untouched)
    status = main(["add", name, fields], untouched)
    lines = capsys.readouterr().err.splitlines()

    assert status == 1
    assert len(lines) == 1
    assert message in lines[0]
    assert files(untouched) == before


def test_an_entity_is_new_files_and_its_registration(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(project)
    assert main(["add", "gadget", GADGET], project) == 0
    after = files(project)
    again = main(["add", "gadget", GADGET], project)

    assert "Nothing was changed." in capsys.readouterr().out
    assert (again, files(project)) == (0, after)
    assert [name for name in before if before[name] != after[name]] == [str(ROUTERS)]
    lines = [after[str(ROUTERS)].decode().splitlines(), before[str(ROUTERS)].decode().splitlines()]
    assert [line for line in lines[0] if line not in lines[1]] == [
        "from app.api.v1.gadgets import router as gadgets_router",
        "router.include_router(gadgets_router)",
    ]
    new = sorted(re.sub(r"\d{8}_\d{4}_\w{12}", "…", name) for name in after.keys() - before.keys())
    assert new == [
        "src/app/api/v1/gadgets.py",
        "src/app/crud/crud_gadgets.py",
        "src/app/models/gadget.py",
        "src/app/schemas/gadget.py",
        "src/migrations/versions/…_add_gadget.py",
        "tests/test_gadget.py",
    ]


def test_removal_takes_everything_back_once(project: Path) -> None:
    before = files(project)
    add(project, "person", "name:str", "people")
    (project / "tests/test_other.py").write_text('CODE = """\nfrom app.models.person import Person\n"""\n')
    remove(project, "person", "people")
    (project / "tests/test_other.py").unlink()
    again = remove(project, "person", "people")

    assert files(project) == before
    assert again == ["There is no entity person (src/app/models/person.py). Nothing was changed."]


def test_an_entity_that_others_use_is_not_removed(project: Path) -> None:
    add(project, "gadget", GADGET)
    add(project, "review", "stars:int(1..5) gadget:gadget")
    before = files(project)

    with pytest.raises(EntityError, match=r"tests/test_review\.py uses tests\.test_gadget"):
        remove(project, "gadget")
    with pytest.raises(EntityError, match=r"uses app\."):
        remove(project, "user")
    assert files(project) == before


def test_rows_that_may_disappear_unannounced_are_not_referred_to(project: Path) -> None:
    """Cached responses would still show them."""
    add(project, "gadget", "title:str")
    endpoints = project / "src/app/api/v1/gadgets.py"
    endpoints.write_text(endpoints.read_text().replace(".soft_delete(", ".hard_delete("))

    with pytest.raises(EntityError, match="add GADGET = Owner"):
        add(project, "review", "stars:int gadget:gadget")
    with (project / "src/app/api/owners.py").open("a") as owners:
        owners.write('GADGET = Owner("id")\n')
    add(project, "review", "stars:int gadget:gadget")
    assert "owners=[GADGET])" in (project / "src/app/api/v1/reviews.py").read_text()


def test_uncommitted_changes_are_refused_unless_forced(project: Path) -> None:
    commit(project)
    (project / "new.txt").touch()
    before = files(project)

    with pytest.raises(EntityError, match=r"not committed \(new\.txt\): commit them, or add FORCE=1"):
        add(project, "gadget", GADGET)
    assert files(project) == before
    add(project, "gadget", GADGET, force=True)
    with pytest.raises(EntityError, match="FORCE=1"):
        remove(project, "gadget")
    remove(project, "gadget", force=True)
    assert files(project) == before


def test_an_entity_that_is_not_committed_is_removed_without_force(project: Path) -> None:
    commit(project)
    add(project, "gadget", GADGET)
    remove(project, "gadget")

    assert changes(project) == []


@pytest.mark.parametrize("how", ["pushed", "released"])
def test_a_released_migration_stays(project: Path, how: str) -> None:
    add(project, "gadget", GADGET)
    if how == "released":
        config = project / "pyproject.toml"
        config.write_text(
            re.sub(r'(?m)^released = ".*"', f'released = "{migration.head(project)}"', config.read_text())
        )
    commit(project)
    if how == "pushed":
        git(project, "update-ref", "refs/remotes/origin/main", "HEAD")
    told = remove(project, "gadget")

    assert not (project / "src/app/models/gadget.py").exists()
    assert newest(project).name.endswith("_add_gadget.py")
    assert 'alembic revision --autogenerate -m "remove gadget"' in told[-1]


def newest(project: Path) -> Path:
    """Its migration that no other follows: several may be of one minute, and their names are in no order then."""
    head = migration.head(project)
    return next(each.path for each in migration.revisions(project) if each.id == head)


def test_a_migration_that_others_follow_stays(project: Path) -> None:
    for name in ("gadget", "order"):
        add(project, name, "title:str")
    remove(project, "gadget")
    remove(project, "order")

    assert newest(project).name.endswith("_add_gadget.py")


def test_a_failed_write_leaves_all_files_as_they_were(project: Path) -> None:
    (project / "tests").rename(project / "elsewhere")
    before = files(project)

    with pytest.raises(FileNotFoundError):
        add(project, "gadget", GADGET)
    assert files(project) == before


@pytest.mark.parametrize(
    ("entity", "entities", "model", "article"),
    [
        ("gadget", "gadgets", "Gadget", "a gadget"),
        ("order_item", "order_items", "OrderItem", "an order item"),
        ("city", "cities", "City", "a city"),
        ("key", "keys", "Key", "a key"),
        ("box", "boxes", "Box", "a box"),
        ("user_group", "user_groups", "UserGroup", "a user group"),
        ("hour", "hours", "Hour", "an hour"),
    ],
)
def test_names(entity: str, entities: str, model: str, article: str) -> None:
    names = Names.of(entity)

    assert (names.entities, names.model, with_article(names.words)) == (entities, model, article)


async def test_the_migration_is_what_alembic_writes(services: Services, empty_database: str, project: Path) -> None:
    """For all types of fields, with indexes and foreign keys; only the id, the time and Alembic's comments differ."""
    await apply_migrations(services.settings(POSTGRES_DB=empty_database))
    add(project, "thing", EVERYTHING)
    ours = newest(project)
    text = ours.read_text()
    ours.unlink()
    environment = services.environment(POSTGRES_DB=empty_database) | TOOLS
    command = [sys.executable, "-m", "alembic", "revision", "--autogenerate", "-m", "add thing"]
    process = await asyncio.create_subprocess_exec(*command, cwd=project / "src", env=environment)
    assert await process.wait() == 0
    theirs = newest(project)

    assert ours.name.partition("_add_")[2] == theirs.name.partition("_add_")[2]
    assert comparable(text) == comparable(theirs.read_text())


def comparable(text: str) -> str:
    text = re.sub(r"(?m)^ +# ### .+\n", "", text)
    created = re.sub(r"(?m)^Create Date: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$", "Create Date", text)
    return re.sub(r'(?m)^(Revision ID: |revision: str = ")\w{12}', r"\1", created)


def test_any_code_is_formatted_by_construction(project: Path) -> None:
    """As ruff does it, for long names, long lists and many fields."""
    for entity in random_entities(3, 12, known_targets()):
        add(project, entity.name, entity.fields)
    for command in (["format", "--diff"], ["check"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "src", "tests"],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr


def test_random_entities_pass_the_checks_and_their_tests(tmp_path: Path) -> None:
    """And one with unique values of several types; `python -m dev.entity.trial --count 20` tries more of them."""
    several = RandomEntity("event", "day:date! starts_at:datetime! code:str(..3)! rank:int! fee:decimal(0..)!")
    try_entities(copy_project(tmp_path, MYPY_CACHE), [several, *random_entities(0, 2, known_targets())])


def test_the_generator_is_used_by_nothing_else() -> None:
    """It can be deleted: only these tests and two make targets are missing then."""
    places = [path for folder in ("src", "dev", "tests", "deploy") for path in (ROOT / folder).rglob("*.py")]
    users = [path.relative_to(ROOT) for path in places if "dev.entity" in path.read_text(encoding="utf-8")]

    assert [path for path in users if path.parts[:2] != ("dev", "entity")] == [Path("tests/test_make_entity.py")]


def test_an_entity_loses_the_cache_with_the_rest(project: Path, tmp_path: Path) -> None:
    add(project, "product", "title:str(2..80) owner:user", force=True)
    assert "@cache(" in (project / "src/app/api/v1/products.py").read_text(encoding="utf-8")
    staging = Staging(project, tmp_path / "staged")
    removal.remove(staging, with_required(["cache"]))

    assert "cache" not in staging.read("src/app/api/v1/products.py")
    assert "crud_products.read_page" in staging.read("src/app/api/v1/products.py")
    assert [each for each in problems(staging, with_required(["cache"])) if "product" in each] == []
