"""The studio: a page on this machine on which a person sees, steers and teaches what was learned."""
