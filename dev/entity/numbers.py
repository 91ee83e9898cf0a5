"""Fields with whole numbers and with decimals."""

from decimal import Decimal
from math import ceil, floor

from dev.entity.fields import LEAST_UNIQUE_VALUES, MAX_DECIMAL, MAX_INT32, MIN_INT32, Field
from dev.entity.kind import SCHEMAS, Kind, constrained


def _number(field: Field, low: object, high: object) -> str:
    unit = " 2 decimal places" if field.kind == "decimal" else ""
    if low is not None and high is not None:
        return f", {low} to {high}" + (f", with{unit}" if unit else "")
    bound = f", {low} or more" if low is not None else f", {high} or less" if high is not None else ""
    return bound + (f", with{unit}" if unit else "" if bound else ", a whole number")


def _start(low: Decimal | None, high: Decimal | None) -> int:
    """A whole number from which others follow within the bounds."""
    is_low = high is not None and high < LEAST_UNIQUE_VALUES
    if low is not None and (low > 0 or is_low):
        return ceil(low)
    return floor(high) - LEAST_UNIQUE_VALUES if high is not None and is_low else 0


def _plus(start: int, code: str) -> str:
    return f"{start} + {code}" if start else code


def whole(field: Field) -> Kind:
    low, high = (None if bound is None else int(bound) for bound in (field.low, field.high))
    start = _start(field.low, field.high)
    below, above = (MIN_INT32 if low is None else low) - 1, (MAX_INT32 if high is None else high) + 1
    return Kind(
        python="int",
        column="",
        migrated="sa.Integer()",
        given=constrained("Int32", ge=low, le=high),
        description=_number(field, low, high),
        example=str(start + 1),
        numbered=_plus(start, "number"),
        changed=str(start + 2 if high is None or start + 2 <= high else start),
        wrong=(str(below), str(above), '"x"'),
        schema_imports=((SCHEMAS, "Int32"),),
    )


def decimal(field: Field) -> Kind:
    low, high, start = field.low, field.high, _start(field.low, field.high)
    has_room = high is None or start + 2 <= high
    above = (Decimal(MAX_DECIMAL) if high is None else high) + 1
    number = ("decimal", "Decimal")
    return Kind(
        python="Decimal",
        column="Numeric(12, 2)",
        migrated="sa.Numeric(precision=12, scale=2)",
        given=constrained("Decimal", max_digits=12, decimal_places=2, ge=_bound(low), le=_bound(high)),
        description=_number(field, low, high),
        example=f'"{start + 1 if has_room else low:.2f}"',
        numbered=f'f"{{{_plus(start, "number")}}}.00"',
        changed=f'"{start + 2 if has_room else high:.2f}"',
        wrong=('"1.001"', f'"{above}"', *((f'"{low - 1}"',) if low is not None else ()), '"NaN"'),
        model_imports=(number, ("sqlalchemy", "Numeric")),
        schema_imports=(number,),
    )


def _bound(bound: Decimal | None) -> str | None:
    if bound is None:
        return None
    return str(int(bound)) if bound == int(bound) else f'Decimal("{bound}")'
