"""lesionaug inside other frameworks: one adapter per framework, none of them imported unless asked for."""
