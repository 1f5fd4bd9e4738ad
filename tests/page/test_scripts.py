"""A hundred ways to smuggle a script, as text, as a person's name and as a room's: a real browser runs none."""

import itertools

from playwright.async_api import expect

from tests.bench.clients import Frames, guest
from tests.bench.ring import Ring
from tests.page.conftest import MILLISECONDS, Visitors

CODE = "top.X=1"
RAN = "() => window.X"
EVENTS = ("onload", "onerror", "onclick", "onfocus", "ontoggle", "onbegin", "onanimationstart", "onpointerenter")
ELEMENTS = (
    "img src=x",
    "svg",
    "video src=x",
    "details open",
    "input autofocus",
    "body",
    "iframe",
    "math",
    "marquee",
    "audio src=x",
)
SHAPES = (
    "<{element} {event}={code}>",
    "<{element}/{event}={code}//",
)
OTHERS = (
    f"<script>{CODE}</script>",
    f"<ScRiPt>{CODE}</sCrIpT>",
    f"<script\n>{CODE}</script\n>",
    f"<script/x>{CODE}</script>",
    "<script src=//127.0.0.1:1/x.js></script>",
    "<script src=data:text/javascript,top.X=1></script>",
    f"</textarea><script>{CODE}</script>",
    f"--><script>{CODE}</script><!--",
    f"]]><script>{CODE}</script>",
    f"</title></style><script>{CODE}</script>",
    f"<svg><script>{CODE}</script></svg>",
    f"<math><mi><script>{CODE}</script></mi></math>",
    f"<template><script>{CODE}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={CODE}>'>",
    f'<a href="javascript:{CODE}">x</a>',
    f'<a href="jav&#x09;ascript:{CODE}">x</a>',
    f'<a href=" &#14; javascript:{CODE}">x</a>',
    f'<a href="data:text/html,<script>{CODE}</script>">x</a>',
    f"<form action=javascript:{CODE}><button>x</button></form>",
    f"<button formaction=javascript:{CODE}>x</button>",
    f'<iframe srcdoc="<script>parent.{CODE}</script>"></iframe>',
    f'<iframe src="javascript:parent.{CODE}"></iframe>',
    f'<object data="javascript:{CODE}"></object>',
    f'<embed src="javascript:{CODE}">',
    f'<base href="javascript:{CODE}//">',
    '<meta http-equiv=refresh content="0;url=javascript:top.X=1">',
    "<link rel=stylesheet href=//127.0.0.1:1/x.css>",
    "<style>@import '//127.0.0.1:1/x.css';body{display:none}</style>",
    '<img src=x style="position:fixed;inset:0">',
    f"<img src=`x`onerror={CODE}>",
    f"<img \x0bsrc=x\x0bonerror={CODE}>",
    "<img src=x onerror=&#116;op.X=1>",
    f"<img src='x' onerror='{CODE}'",
    f'"><img src=x onerror={CODE}>',
    f"'><img src=x onerror={CODE}>",
    f"' autofocus onfocus={CODE} x='",
    f'" onmouseover="{CODE}',
    f"javascript:{CODE}",
    f"javascript://%0a{CODE}",
    f'http://127.0.0.1:1/" onmouseover="{CODE}',
    f"[x](javascript:{CODE})",
    f'![x](x"onerror="{CODE})',
    f'{{{{constructor.constructor("{CODE}")()}}}}',
    f"${{{CODE}}}",
    f"<%= {CODE} %>",
    f"&lt;script&gt;{CODE}&lt;/script&gt;",
    f"&#60;img src=x onerror={CODE}&#62;",
    f"%3Cimg%20src=x%20onerror={CODE}%3E",
    f"\\u003cimg src=x onerror={CODE}\\u003e",
    f"＜script＞{CODE}＜/script＞",
    f"<x-x onclick={CODE} tabindex=1 autofocus>",
    f"<dialog open onclose={CODE}><form method=dialog>",
    f"<select><option><img src=x onerror={CODE}></select>",
    f"<table background=javascript:{CODE}>",
    f"<svg><animate attributeName=href values=javascript:{CODE}></svg>",
    f"<svg><use href=\"data:image/svg+xml,<svg id='x' onload='{CODE}'/>#x\"></svg>",
)
PAYLOADS = (
    *(
        shape.format(element=element, event=event, code=CODE)
        for (element, event), shape in zip(
            itertools.islice(itertools.product(ELEMENTS, EVENTS), 0, None, 2), itertools.cycle(SHAPES), strict=False
        )
    ),
    *(f"<{element} {EVENTS[1]}={CODE}>" for element in ELEMENTS[:6]),
    *OTHERS,
)
MADE = (
    "() => [...document.querySelectorAll('*')].filter(one => ['SCRIPT','IFRAME','OBJECT','EMBED','BASE','MARQUEE',"
    "'VIDEO','AUDIO','MATH','DETAILS','TEMPLATE','STYLE','DIALOG','TABLE'].includes(one.tagName)"
    " || [...one.attributes].some(a => /^on/i.test(a.name) || /javascript:/i.test(a.value))).map(one => one.outerHTML)"
)


async def test_a_hundred_scripts_are_text(visitors: Visitors, page_ring: Ring) -> None:
    """Each payload shows as it was written; no element, attribute, dialog or request to elsewhere comes of it."""
    assert len(PAYLOADS) >= 100
    assert len(set(PAYLOADS)) == len(PAYLOADS)
    ann = await visitors()
    elsewhere: list[str] = []
    ann.page.on("request", lambda request: elsewhere.append(request.url) if ":1/" in request.url else None)
    await ann.come_as_guest("Ann")
    before = await ann.page.evaluate(MADE)
    async with await Frames.open(page_ring) as mallory:
        await mallory.enter((await guest(page_ring, PAYLOADS[0][:40])).access)
        await mallory.call("room.join", room="general")
        for payload in PAYLOADS:
            await mallory.say("general", payload)
    texts = ann.page.get_by_test_id("message-text")
    await expect(texts.last).to_contain_text(PAYLOADS[-1].strip()[:30], timeout=MILLISECONDS)
    shown = await texts.all_text_contents()
    for payload in PAYLOADS:
        assert any(_plain(payload) == _plain(one) for one in shown), payload
    assert await ann.page.evaluate(MADE) == before
    assert await ann.page.evaluate(RAN) is None
    assert elsewhere == []


async def test_a_name_is_text_wherever_it_shows(visitors: Visitors, page_ring: Ring) -> None:
    """As the name of a person and of a room: in lists, titles and notices alike."""
    names = [one for one in PAYLOADS if len(one) <= 40 and one.isprintable()][::4]
    assert len(names) >= 12
    ann = await visitors()
    await ann.come_as_guest("Ann")
    before = await ann.page.evaluate(MADE)
    for name in names:
        async with await Frames.open(page_ring) as mallory:
            await mallory.enter((await guest(page_ring, name)).access)
            await mallory.call("room.join", room="general")
            await mallory.say("general", f"I am {names.index(name)}")
        await ann.sees(f"I am {names.index(name)}")
    for name in names[:4]:
        await ann.mark("room-new-name").fill(name)
        await ann.mark("room-create").click()
        await expect(ann.mark("room-title")).to_have_text(name, timeout=MILLISECONDS)
    assert await ann.page.evaluate(MADE) == before
    assert await ann.page.evaluate(RAN) is None


def _plain(text: str) -> str:
    """Return a text without what the chat service takes out of all texts: control characters; and without spaces."""
    return "".join(one for one in text if one.isprintable() and not one.isspace())
