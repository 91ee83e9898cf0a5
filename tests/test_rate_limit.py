import httpx

from tests.helper import API, Rows

TASK = f"{API}/tasks/task"


async def test_anonymous_default(client: httpx.AsyncClient, rows: Rows) -> None:
    answers = [await client.post(TASK, params={"message": "x"}) for _ in range(11)]
    print(answers[0].headers, answers[10].headers, answers[10].json())
    assert [a.status_code for a in answers] == [201] * 10 + [429]
    assert (await client.post(TASK)).headers["RateLimit-Limit"] == "10"
    tier = await rows.tier()
    await rows.rate_limit(tier, limit=2)
    u = await rows.user()
    r = await client.post(TASK, params={"message": "x"}, headers=u.headers)
    assert r.headers["RateLimit-Limit"] == "10"
    await rows.join_tier(u, tier)
    r = await client.post(TASK, params={"message": "x"}, headers=u.headers)
    print(r.headers)
    assert r.headers["RateLimit-Limit"] == "2"
    assert r.headers["RateLimit-Remaining"] == "0"
