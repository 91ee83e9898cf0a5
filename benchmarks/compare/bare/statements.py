"""The SQL of the comparison application, for asyncpg; `u` is the user, `p` the post."""

USER_COLUMNS = "u.id, u.name, u.username, u.email, u.profile_image_url, u.tier_id"
POST_COLUMNS = "p.id, p.title, p.text, p.media_url, p.created_by_user_id, p.created_at"
VALID_SESSION = "u.uuid = $1 AND NOT u.is_deleted AND NOT EXISTS (SELECT FROM token_blacklist AS b WHERE b.token = $2)"
USER_BY_SESSION = f'SELECT {USER_COLUMNS} FROM "user" AS u WHERE {VALID_SESSION}'
USER_AND_RULE = (
    'SELECT u.id, r."limit", r.period FROM "user" AS u '
    f"JOIN rate_limit AS r ON r.tier_id = u.tier_id AND r.path = $3 WHERE {VALID_SESSION}"
)
USER = f'SELECT {USER_COLUMNS} FROM "user" AS u WHERE u.username = $1 AND NOT u.is_deleted'
USERS = f'SELECT {USER_COLUMNS} FROM "user" AS u WHERE NOT u.is_deleted ORDER BY u.id LIMIT $1 OFFSET $2'
COUNT_USERS = 'SELECT count(*) FROM "user" AS u WHERE NOT u.is_deleted'
OF_AUTHOR = 'FROM post AS p JOIN "user" AS u ON u.id = p.created_by_user_id WHERE u.username = $1 AND NOT p.is_deleted'
POST = f"SELECT {POST_COLUMNS} {OF_AUTHOR} AND p.id = $2"
POSTS = f"SELECT {POST_COLUMNS} {OF_AUTHOR} ORDER BY p.id DESC LIMIT $2 OFFSET $3"
COUNT_POSTS = f"SELECT count(*) {OF_AUTHOR}"
INSERT_POST = (
    "INSERT INTO post AS p (created_by_user_id, title, text, media_url, uuid, is_deleted) "
    f"VALUES ($1, $2, $3, $4, $5, false) RETURNING {POST_COLUMNS}"
)
UPDATE_POST = (
    "UPDATE post SET title = $3, updated_at = now() "
    "WHERE id = $1 AND created_by_user_id = $2 AND NOT is_deleted RETURNING id"
)
