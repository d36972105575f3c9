"""What a person and a browser find in a page of ours: its texts and the addresses it names."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Texts and addresses in the order of the page; fails on a tag that is left open or closed out of order."""

    def __init__(self, markup):
        super().__init__()
        self.open, self.texts, self.hrefs = [], [], []
        self.feed(markup)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.hrefs += [value for name, value in attrs if name in {"href", "src"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())

    @property
    def text(self):
        """All of it as one line."""
        return " ".join(self.texts)
