"""The paper's tables and figures, one module each, made with the library's public names only."""
