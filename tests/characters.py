"""Characters to draw texts of."""

from hypothesis import strategies as st

# All that UTF-8 can encode.  By itself Hypothesis finds them by encoding each code point, which takes each worker
# six seconds on a new machine, where no earlier run has noted them.
ANY = st.characters(exclude_categories=["Cs"])
