"""The page's chapters, each a function from a `RunRecord` to a `Section`, or to None where there is nothing to say."""
