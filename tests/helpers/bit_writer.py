"""Builds codec configurations field by field, for tests of those that no encoder at hand writes."""


class BitWriter:
    def __init__(self):
        self._bits = ""

    def u(self, *fields):
        """Unsigned fields, each a pair of value and width in bits."""
        for value, width in fields:
            self._bits += f"{value:0{width}b}"
        return self

    def ue(self, *values):
        """Exp-Golomb codes."""
        for value in values:
            code = f"{value + 1:b}"
            self._bits += "0" * (len(code) - 1) + code
        return self

    def se(self, *values):
        """Signed Exp-Golomb codes."""
        return self.ue(*(2 * value - 1 if value > 0 else -2 * value for value in values))

    def raw(self, data):
        """Whole bytes, wherever the position is."""
        self._bits += "".join(f"{byte:08b}" for byte in data)
        return self

    def bytes(self):
        """Everything, filled up with zeros to a whole byte."""
        bits = self._bits + "0" * (-len(self._bits) % 8)
        return bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits), 8))
