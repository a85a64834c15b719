def docs_page() -> bytes: return b""
def docs_asset(name: str) -> tuple[bytes, str]: raise KeyError
