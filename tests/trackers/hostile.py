"""Values that no verb should stumble over, and numbers that no market has; on top of those of the promises."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from tests.test_promises import ALL, values

numbers = st.one_of(
    st.decimals(allow_nan=True, allow_infinity=True),
    st.floats(),
    st.sampled_from([Decimal("1e-400"), Decimal("9e400"), "1e300", "-0", "0", 1e-320, 10**399, "12,5", " 7 "]),
)
hostile = st.one_of(values, numbers)
EVERY = [*ALL, *(lambda value=value: value for value in (Decimal("1e-400"), Decimal("9e400"), "1e-300", 5e-324))]
