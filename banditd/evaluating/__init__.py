"""The journal as a log to be evaluated, exported and verified; read only, and while a server runs too."""
