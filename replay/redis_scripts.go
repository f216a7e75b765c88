package replay

import (
	"strconv"

	"github.com/redis/go-redis/v9"
)

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

// In a cluster it is the number of one of the parts, see [parts].
func (r *Redis) tag(res Reservation, key, nonce tokenKey) string {
	switch {
	case r.cluster != nil && res.Nonce != "":
		return strconv.Itoa(int(nonce[0]) % parts)
	case r.cluster != nil:
		return strconv.Itoa(int(key[0]) % parts)
	case res.Nonce != "":
		return res.Nonce
	default:
		return res.Key
	}
}

func tokenName(r Reservation, tag string) string { return namePrefix + "{" + tag + "}:t:" + r.Key }

func nonceName(r Reservation, tag string) string { return namePrefix + "{" + tag + "}:n:" + r.Nonce }

func partName(tag string) string { return namePrefix + "{" + tag + "}:since" }

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

func newScripts(cluster bool) scripts {
	if cluster {
		return scripts{newScript(partScript + reserveScript), newScript(releaseScript), newScript(joinScript)}
	}
	return scripts{newScript(markerScript + reserveScript), newScript(releaseScript), newScript(joinScript)}
}

// A reservation begins by asking whether this is the memory that we know. Where
// there is one master, the marker must have our watermark.
const markerScript = `
local n = #KEYS - 1
if redis.call('HGET', KEYS[n + 1], 'w') ~= ARGV[1] then return -1 end
`

// In a cluster the marker of the token's part says since when that part is whole:
// since our watermark, or before.
const partScript = `
local n = #KEYS - 1
local since = tonumber(redis.call('GET', KEYS[n + 1]) or '')
if not since or since > tonumber(ARGV[1]) then return -1 end
`

// A token's record is a hash: "v" is the format's version and "o" (open) or "c"
// (closed), "m:MEMBER" the decision that used it for that member, or "" where
// several did, so that none may release it. A nonce's record is the version and
// the decision.
//
// KEYS: token [nonce] marker; ARGV: watermark, use, TTL in ms, decision, member, TTL
// of the nonce. It follows one of the two above.
const reserveScript = `
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
// for each master whose loss, if it was one, "w" covers already; its value is how
// many replicas it had at most. A pair goes when another continues its replication
// id: its process is over, or should be; its replicas are then the other's.
//
// The clock of one replica of ours must not stop all others: a new watermark is
// refused where that clock and Redis' own are more than a minute apart, and where
// they agree, one that lies beyond is brought back to now. (Where they do not,
// nobody knows which of them is right, and the watermark stays.)
//
// KEYS: marker; ARGV: now, least (both ms), pair or "", the replication id that
// the pair continues, "1" where now is the watermark whatever is known, "1" where
// there is one master only, the replicas that the pair has, pairs that are gone.
// Answers the watermark, and the pairs with their replicas.
const joinScript = `
local v = redis.call('HGET', KEYS[1], 'v')
if v and v ~= '1' then return {'format'} end
local time = redis.call('TIME')
local own = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now, pair = tonumber(ARGV[1]), ARGV[3]
local agree = math.abs(now - own) <= 60000
local w = tonumber(redis.call('HGET', KEYS[1], 'w') or '0')
local was = w
local had = pair ~= '' and redis.call('HGET', KEYS[1], 'p:' .. pair)
if not v or ARGV[5] == '1' or pair ~= '' and not had then
  if not agree then return {'clock', string.format('%.0f', own)} end
  w = math.max(w, now)
end
w = math.max(w, tonumber(ARGV[2]))
if agree and w > own + 60000 then w = math.max(now, own) end
if not v or w ~= was then redis.call('HSET', KEYS[1], 'v', '1', 'w', string.format('%.0f', w)) end
local gone = {}
for i = 8, #ARGV do gone[ARGV[i]] = true end
local most = math.max(tonumber(had or '0'), tonumber(ARGV[7]))
local answer = {string.format('%.0f', w)}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local old = string.sub(all[i], 3)
  if string.sub(all[i], 1, 2) == 'p:' and old ~= pair then
    local repl = string.match(old, ':(.*)')
    if pair ~= '' and (ARGV[6] == '1' or repl == ARGV[4] or repl == string.match(pair, ':(.*)')) then
      most = math.max(most, tonumber(all[i + 1]) or 1)
      redis.call('HDEL', KEYS[1], all[i])
    elseif gone[old] then
      redis.call('HDEL', KEYS[1], all[i])
    else
      answer[#answer + 1] = old
      answer[#answer + 1] = all[i + 1]
    end
  end
end
if pair ~= '' then
  most = string.format('%.0f', most)
  if had ~= most then redis.call('HSET', KEYS[1], 'p:' .. pair, most) end
  answer[#answer + 1] = pair
  answer[#answer + 1] = most
end
return answer
`
