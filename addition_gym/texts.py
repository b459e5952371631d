"""What is read from a completion, whatever the task."""


def line_after(closing: str, completion: str) -> str | None:
    """The line that begins after the first ``closing``, or at the beginning if that is empty, without its line break.

    :return: None if the completion does not hold ``closing``, or does not reach the end of the line
    """
    start = completion.find(closing)
    line, line_break, _ = completion[start + len(closing) :].partition("\n")
    return line if start >= 0 and line_break else None


def departure(completion: str, right: str) -> int:
    """Where a completion first departs from the right one.

    :return: index of the first character that differs, the length of the shorter of the two if one is a proper prefix of the
        other, or -1 if they are equal
    """
    if completion == right:
        return -1
    for index, (given, expected) in enumerate(zip(completion, right, strict=False)):
        if given != expected:
            return index
    return min(len(completion), len(right))
