package replay

import "github.com/redis/go-redis/v9"

// The names in Redis. The digit is the format's version: another format has other
// names or another "v", and what it does not know, a version refuses.
//
// A token and its nonce must be in one hash slot, for one script to take both.
// Their tag is the nonce where there is one, else the token: so two tokens with
// one nonce meet, and a token always meets itself, because the nonce is in what
// its provider signed: a token never comes once with it and once without.
const (
	namePrefix = "cambio:1:"
	markerName = namePrefix + "{marker}"
)

func tag(r Reservation) string {
	if r.Nonce != "" {
		return r.Nonce
	}
	return r.Key
}

func tokenName(r Reservation) string { return namePrefix + "{" + tag(r) + "}:t:" + r.Key }

func nonceName(r Reservation) string { return namePrefix + "{" + tag(r) + "}:n:" + r.Nonce }

// What the scripts answer.
const (
	answerUsed    = 0
	answerAllowed = 1
	answerFreed   = 2  // a release; whether it outlives Redis does not matter
	answerStrange = -1 // another watermark than ours: not the memory that we know
	answerFormat  = -2 // a version that we do not know
	answerFull    = -3
)

// script is Lua, and the name by which Redis remembers it.
type script struct{ text, sha string }

func newScript(text string) script { return script{text, redis.NewScript(text).Hash()} }

type scripts struct{ reserve, release, join script }

func newScripts() scripts {
	return scripts{newScript(reserveScript), newScript(releaseScript), newScript(joinScript)}
}

// A token's record is a hash: "v" is the format's version and "o" (open) or "c"
// (closed), "m:MEMBER" the decision that used it for that member, or "" where
// several did, so that none may release it. A nonce's record is the version and
// the decision.
//
// KEYS: token [nonce] [marker]; ARGV: watermark or "", use, TTL in ms, decision, member,
// TTL of the nonce.
const reserveScript = `
local n = #KEYS
if ARGV[1] ~= '' then
  if redis.call('HGET', KEYS[n], 'w') ~= ARGV[1] then return -1 end
  n = n - 1
end
if n == 2 then
  local nonce = redis.call('GET', KEYS[2])
  if nonce then
    if string.sub(nonce, 1, 1) ~= '1' then return -2 end
    return 0
  end
end
local use, ttl, decision, member = ARGV[2], ARGV[3], ARGV[4], 'm:' .. ARGV[5]
local state = redis.call('HGET', KEYS[1], 'v')
if state then
  if state ~= '1o' and state ~= '1c' then return -2 end
  if state == '1c' or use == 'once' then return 0 end
  local present = redis.call('HGET', KEYS[1], member)
  if present then
    if use == 'once-per-grant' then return 0 end
    if present ~= decision then redis.call('HSET', KEYS[1], member, '') end
  elseif redis.call('HLEN', KEYS[1]) > 1000 then
    return -3
  else
    redis.call('HSET', KEYS[1], member, decision)
  end
  if redis.call('PTTL', KEYS[1]) < tonumber(ttl) then redis.call('PEXPIRE', KEYS[1], ttl) end
else
  if redis.call('EXISTS', KEYS[1]) == 1 then return -2 end
  redis.call('HSET', KEYS[1], 'v', use == 'once' and '1c' or '1o', member, decision)
  redis.call('PEXPIRE', KEYS[1], ttl)
end
if n == 2 then redis.call('SET', KEYS[2], '1' .. decision, 'PX', ARGV[6]) end
return 1
`

// KEYS: token [nonce]; ARGV: decision.
const releaseScript = `
local state = redis.call('HGET', KEYS[1], 'v')
if state then
  if state ~= '1o' and state ~= '1c' then return -2 end
  local all = redis.call('HGETALL', KEYS[1])
  local left = 0
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'm:' then
      if all[i + 1] == ARGV[1] then redis.call('HDEL', KEYS[1], all[i]) else left = left + 1 end
    end
  end
  if left == 0 then redis.call('DEL', KEYS[1]) end
end
if KEYS[2] and redis.call('GET', KEYS[2]) == '1' .. ARGV[1] then redis.call('DEL', KEYS[2]) end
return 2
`

// The marker is a hash: "v", "w" (the watermark in ms since 1970) and "p:RUN:REPL"
// for each master whose loss, if it was one, "w" covers already. A pair goes when
// another continues its replication id: its process is over, or should be.
//
// KEYS: marker; ARGV: now, least (both ms), pair or "", the replication id that
// the pair continues, "1" where now is the watermark whatever is known, "1" where
// there is one master only. Answers the watermark and the pairs.
const joinScript = `
local v = redis.call('HGET', KEYS[1], 'v')
if v and v ~= '1' then return {'format'} end
local w = tonumber(redis.call('HGET', KEYS[1], 'w') or '0')
local was, pair = w, ARGV[3]
local known = pair == '' or redis.call('HEXISTS', KEYS[1], 'p:' .. pair) == 1
if not v or not known or ARGV[5] == '1' then w = math.max(w, tonumber(ARGV[1])) end
w = math.max(w, tonumber(ARGV[2]))
if not v or w ~= was then redis.call('HSET', KEYS[1], 'v', '1', 'w', string.format('%.0f', w)) end
if not known then redis.call('HSET', KEYS[1], 'p:' .. pair, '1') end
local answer = {string.format('%.0f', w)}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 'p:' then
    local old = string.sub(field, 3)
    local repl = string.match(old, ':(.*)')
    if pair ~= '' and old ~= pair and (ARGV[6] == '1' or repl == ARGV[4] or repl == string.match(pair, ':(.*)')) then
      redis.call('HDEL', KEYS[1], field)
    else
      answer[#answer + 1] = old
    end
  end
end
return answer
`
