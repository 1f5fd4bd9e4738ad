"""What a person sees and does on the page."""

import uuid
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.bench import processes
from tests.bench.people import person
from tests.bench.ring import Ring
from tests.page.conftest import MILLISECONDS, PHONE, Visitors

XSS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "<iframe src=javascript:alert(1)>",
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "<body onload=alert(1)>",
    "<style>*{display:none}</style>",
    "<math><mtext></mtext></math>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)>",
    "'-alert(1)-'",
    "${alert(1)}",
    "{{constructor.constructor('alert(1)')()}}",
    "<!--<img src=x onerror=alert(1)>-->",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<template><script>alert(1)</script></template>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0>",
    "<object data=data:text/html,x>",
]


async def test_two_browsers_talk(visitors: Visitors, pictures: Path | None) -> None:
    """Two guests come in; what one says the other sees, once, and the sender's own turns from pending to sent."""
    ann, bob = await visitors(), await visitors()
    await ann.come_as_guest("Ann")
    await bob.come_as_guest("Bob")
    await ann.say("Hello Bob, can you see me?")
    await ann.sees("Hello Bob, can you see me?")
    await bob.sees("Hello Bob, can you see me?")
    await bob.say("I can. <b>No markup</b>, just words.")
    await ann.sees("I can. <b>No markup</b>, just words.")
    await ann.say("Numbered, on disk, and here once.")
    await bob.sees("Numbered, on disk, and here once.")
    await expect(bob.mark("presence-count")).not_to_have_attribute("data-count", "1", timeout=MILLISECONDS)
    if pictures is not None:
        await bob.page.screenshot(path=pictures / "page.png")


async def test_a_killed_worker_is_survived(visitors: Visitors, page_ring: Ring) -> None:
    """Every gateway worker is killed; both pages reconnect by themselves and go on, and nothing is there twice."""
    ann, bob = await visitors(), await visitors()
    await ann.come_as_guest("Ann")
    await bob.come_as_guest("Bob")
    before, during, after = (f"{when} {uuid.uuid4().hex[:8]}" for when in ("before", "during", "after"))
    await ann.say(before)
    await bob.sees(before)
    for pid in page_ring.worker_pids():
        processes.kill(pid)
    await ann.say(during)
    await ann.sees(during)
    await bob.sees(during)
    await bob.can_write()
    await bob.say(after)
    await ann.sees(after)
    for text in (before, during, after):
        await expect(ann.message(text)).to_have_count(1)
        await expect(bob.message(text)).to_have_count(1)


async def test_an_account_comes_back(visitors: Visitors) -> None:
    """Create an account, reload, sign out, sign in elsewhere: the same person with the same rooms."""
    name, room = f"carol{uuid.uuid4().hex[:8]}", f"Club {uuid.uuid4().hex[:6]}"
    carol = await visitors()
    await carol.open()
    await carol.mark("entry-username").fill(name)
    await carol.mark("entry-password").fill("correct horse battery staple")
    await carol.mark("entry-register").click()
    await carol.can_write()
    await carol.mark("room-new-name").fill(room)
    await carol.mark("room-create").click()
    await expect(carol.mark("room-title")).to_have_text(room, timeout=MILLISECONDS)
    await carol.say("first in here")
    await carol.sees("first in here")
    await carol.page.reload()
    await carol.can_write()
    await carol.sees("first in here")
    await carol.mark("sign-out").click()
    await expect(carol.mark("entry-username")).to_be_visible(timeout=MILLISECONDS)

    elsewhere = await visitors()
    await elsewhere.open()
    await elsewhere.mark("entry-username").fill(name)
    await elsewhere.mark("entry-password").fill("correct horse battery staple")
    await elsewhere.mark("entry-login").click()
    await elsewhere.mark("room-item").filter(has_text=room).click()
    await elsewhere.sees("first in here")


async def test_a_wrong_password_is_said(visitors: Visitors) -> None:
    """The entry screen says what is wrong and stays."""
    carol = await visitors()
    await carol.open()
    await carol.mark("entry-username").fill(f"nobody{uuid.uuid4().hex[:8]}")
    await carol.mark("entry-password").fill("not the password")
    await carol.mark("entry-login").click()
    await expect(carol.mark("entry-problem")).to_be_visible(timeout=MILLISECONDS)
    await expect(carol.mark("entry-password")).to_be_visible()


async def test_leaving_is_seen(visitors: Visitors) -> None:
    """Who leaves a room is told off as such to those who stay, and no longer gets its messages."""
    ann, bob = await visitors(), await visitors()
    await ann.come_as_guest("Ann")
    await bob.come_as_guest("Robert")
    await ann.sees_notice("Robert joined the room")
    await bob.mark("leave-room").click()
    await ann.sees_notice("Robert left the room")
    await expect(bob.mark("join-room")).to_be_visible(timeout=MILLISECONDS)


async def test_history_comes_when_scrolling_up(visitors: Visitors, page_ring: Ring) -> None:
    """A long room is read from its end; scrolling up brings all of it, to the first event."""
    writer = await person(page_ring, "Writer")
    try:
        room = await writer.make_room(f"Long {uuid.uuid4().hex[:6]}")
        for number in range(120):
            await writer.say(f"line {number}", room)
    finally:
        await writer.leave()
    ann = await visitors()
    await ann.come_as_guest("Ann")
    await ann.page.reload()  # the list of rooms is read at the start
    await ann.page.locator(f'[data-testid="room-item"][data-room="{room}"]').click()
    await ann.mark("join-room").click()
    await ann.sees("line 119")
    await expect(ann.message("line 0")).to_have_count(0)
    timeline = ann.mark("timeline")
    for _ in range(40):
        await timeline.evaluate("element => { element.scrollTop = 0 }")
        if await ann.mark("beginning").count():
            break
        await ann.page.wait_for_function("() => new Promise((done) => requestAnimationFrame(() => done(true)))")
    await ann.sees("line 0")
    numbers = await ann.page.eval_on_selector_all(
        "[data-testid=message]", "elements => elements.map((one) => Number(one.dataset.number))"
    )
    assert numbers == list(range(1, 121))


async def test_a_phone_is_wide_enough(visitors: Visitors, pictures: Path | None) -> None:
    """At 390 px rooms are in a drawer, nothing is wider than the screen, and one can talk by touch and by keyboard."""
    ann = await visitors(PHONE["width"], PHONE["height"])
    await ann.come_as_guest("Ann")
    await ann.say("from my phone")
    await ann.sees("from my phone")
    wide = await ann.page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= PHONE["width"]
    await ann.mark("rooms-toggle").click()
    await expect(ann.mark("room-list")).to_be_visible()
    await ann.page.keyboard.press("Escape")
    await expect(ann.mark("room-list")).not_to_be_in_viewport()
    if pictures is not None:
        await ann.page.screenshot(path=pictures / "phone.png")


async def test_whatever_people_write_is_text(visitors: Visitors) -> None:
    """Markup in messages, in a name and in a room's name shows as it was written and makes no element."""
    mallory, ann = await visitors(), await visitors()
    await mallory.come_as_guest(XSS[1][:40])
    await ann.come_as_guest("Ann")
    for payload in XSS:
        await mallory.say(payload)
        await ann.sees(payload)
    await mallory.mark("room-new-name").fill(XSS[0])
    await mallory.mark("room-create").click()
    await expect(mallory.mark("room-title")).to_have_text(XSS[0], timeout=MILLISECONDS)
    for one in (mallory, ann):
        made = await one.page.evaluate(
            "() => document.querySelectorAll('[data-testid=timeline] :is(script,img,svg[onload],iframe,a,style,math,"
            "details,video,template,base,meta,object,b)').length"
        )
        assert made == 0


@pytest.mark.parametrize("path", ["/", "/logo.svg"])
async def test_the_page_is_served_under_a_strict_policy(page_ring: Ring, path: str) -> None:
    """Every file comes with a policy without inline code, and no sniffing."""
    import httpx

    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(page_ring.gateway_url + path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_half_a_character_is_no_poison(visitors: Visitors) -> None:
    """Half an emoji, which the wire cannot carry, is replaced: the message arrives and the page stays online."""
    ann, bob = await visitors(), await visitors()
    await ann.come_as_guest("Ann")
    await bob.come_as_guest("Bob")
    await ann.mark("composer-input").evaluate(
        "field => { field.value = 'half ' + String.fromCharCode(0xd83d);"
        " field.dispatchEvent(new Event('input', { bubbles: true })) }"
    )
    await ann.mark("composer-input").press("Enter")
    await bob.sees("half \ufffd")
    await ann.say("and whole")
    await bob.sees("and whole")
