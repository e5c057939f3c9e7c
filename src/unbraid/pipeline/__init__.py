"""Each stage called once, in order: `demo` for the talk's experiment, `stages` for the command line's verbs."""
