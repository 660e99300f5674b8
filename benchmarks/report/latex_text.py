r"""Any text as LaTeX that shows it: escaped, and compiled by pdfLaTeX without a further package.

The document needs T1 fonts (`\usepackage[T1]{fontenc}`). What they and TeX's mathematics do not
have is shown by its code point, as in [U+4E2D]: nothing is lost in silence and nothing stops the
compiler. Packages that translate all of Unicode exist, but their macros need packages in turn.
"""

from __future__ import annotations

import re
import unicodedata

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    # After the end of a row these would be read as its arguments.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
}
TYPOGRAPHY = {
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "…": r"\textellipsis{}",
    "†": r"\textdagger{}",
}
MATHEMATICS = dict(
    pair.split("=")
    for pair in (
        "α=alpha β=beta γ=gamma δ=delta ε=varepsilon ζ=zeta η=eta θ=theta ι=iota κ=kappa λ=lambda "
        "μ=mu ν=nu ξ=xi π=pi ρ=rho σ=sigma τ=tau υ=upsilon φ=varphi χ=chi ψ=psi ω=omega "
        "Γ=Gamma Δ=Delta Θ=Theta Λ=Lambda Ξ=Xi Π=Pi Σ=Sigma Υ=Upsilon Φ=Phi Ψ=Psi Ω=Omega "
        "↑=uparrow ↓=downarrow ←=leftarrow →=rightarrow ↔=leftrightarrow "
        "≤=leq ≥=geq ≠=neq ≈=approx ∞=infty"
    ).split()
)
KNOWN = {
    **SPECIAL,
    **TYPOGRAPHY,
    **{symbol: f"$\\{name}$" for symbol, name in MATHEMATICS.items()},
    "−": "$-$",
}
# Printable letters and signs up to U+017E that T1 fonts lack.
LACKING = frozenset("ĦħĸĿŀŉŦŧ")
# Two of these in a row are one other sign to TeX: a dash, a closing or an opening quotation mark.
SIGN = re.compile(r"(?P<pair>[-',])(?=(?P=pair))|.", re.DOTALL)


def escape(text: str) -> str:
    """The text on one line. Accents written as signs of their own are joined to their letters."""
    return SIGN.sub(_sign, unicodedata.normalize("NFC", " ".join(text.split())))


def prose(text: str) -> str:
    """Escaped text whose long names and paths may be broken across lines."""
    return re.sub(r"\\_|/", r"\g<0>\\allowbreak{}", escape(text))


def _sign(found: re.Match[str]) -> str:
    sign = found[0]
    if found["pair"]:
        return sign + "{}"
    if sign in KNOWN:
        return KNOWN[sign]
    if " " <= sign <= "~" or ("¡" <= sign <= "ž" and sign not in LACKING and sign.isprintable()):
        return sign
    return f"{{[}}U+{ord(sign):04X}{{]}}"
