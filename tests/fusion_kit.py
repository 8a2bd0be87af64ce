"""Authors and surroundings for tests of fusions: hypothesis strategies."""

from __future__ import annotations

from hypothesis import strategies as st

from schemas.features import ThreadContext, UserFeatures

probability = st.floats(0, 1)
users = st.builds(
    UserFeatures,
    known=st.booleans(),
    uploads=st.integers(0, 99),
    reputation=st.floats(0, 100),
    violations=st.integers(0, 30),
    toxicity_rate=probability,
    report_rate=probability,
)
contexts = st.builds(
    ThreadContext,
    parent_toxicity=st.none() | probability,
    community_baseline=st.none() | probability,
)
