package standin

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// WeakRSA is an RSA key as nobody should have one: too short, too long, with
// exponent 1 or an even modulus. The standard library refuses to make such keys;
// an identity provider that publishes one must be refused by us, so the tests
// need tokens that such a key truly signed. It implements crypto.Signer, with
// PKCS #1 v1.5 only.
type WeakRSA struct {
	N *big.Int
	E int

	primes []*big.Int
}

// primeBits is the size of the primes of a long key. Many primes of a size that
// is found fast make a key of 16384 bits in a second rather than in minutes.
const primeBits = 1024

// NewWeakRSA makes a key of exactly so many bits with this exponent (odd). With
// even the modulus is twice a prime.
func NewWeakRSA(random io.Reader, bits, exponent int, even bool) (*WeakRSA, error) {
	if bits < 64 || bits > 32768 || exponent < 1 || exponent%2 == 0 {
		return nil, errors.New("standin: no such weak key")
	}
	k := &WeakRSA{N: big.NewInt(1), E: exponent}
	if even {
		k.take(big.NewInt(2))
		q, err := k.prime(random, bits-1)
		if err != nil {
			return nil, err
		}
		k.take(q)
		return k, nil
	}
	primes := max(2, (bits+primeBits-1)/primeBits)
	for range primes - 1 {
		q, err := k.prime(random, bits/primes)
		if err != nil {
			return nil, err
		}
		k.take(q)
	}
	// A product is as long as its factors together, or a bit shorter: the last
	// prime is tried in both sizes until the length is exact.
	for more := 0; ; more = 1 - more {
		q, err := k.prime(random, bits-k.N.BitLen()+more)
		if err != nil {
			return nil, err
		}
		if new(big.Int).Mul(k.N, q).BitLen() == bits {
			k.take(q)
			return k, nil
		}
	}
}

func (k *WeakRSA) take(q *big.Int) {
	k.primes = append(k.primes, q)
	k.N = new(big.Int).Mul(k.N, q)
}

// prime finds a prime whose group the exponent can be inverted in, and that the
// key does not have yet.
func (k *WeakRSA) prime(random io.Reader, bits int) (*big.Int, error) {
	one := big.NewInt(1)
	for {
		q, err := rand.Prime(random, bits)
		if err != nil {
			return nil, fmt.Errorf("standin: find a prime: %w", err)
		}
		order := new(big.Int).Sub(q, one)
		fits := new(big.Int).GCD(nil, nil, big.NewInt(int64(k.E)), order).Cmp(one) == 0
		if fits && new(big.Int).Mod(k.N, q).Sign() != 0 {
			return q, nil
		}
	}
}

// WeakPublic is the public half of a WeakRSA.
type WeakPublic struct {
	N *big.Int
	E int
}

// Public implements crypto.Signer.
func (k *WeakRSA) Public() crypto.PublicKey { return &WeakPublic{N: k.N, E: k.E} }

// Sign implements crypto.Signer with RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2.1).
func (k *WeakRSA) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	prefix, err := digestInfo(opts.HashFunc())
	if err != nil {
		return nil, err
	}
	info := append(prefix, digest...)
	size := (k.N.BitLen() + 7) / 8
	if size < len(info)+11 {
		return nil, errors.New("standin: the key is too short for the hash")
	}
	em := make([]byte, size)
	em[1] = 1
	for i := 2; i < size-len(info)-1; i++ {
		em[i] = 0xff
	}
	copy(em[size-len(info):], info)
	return k.power(new(big.Int).SetBytes(em)).FillBytes(make([]byte, size)), nil
}

// power is m to the private exponent: prime by prime, then put together by the
// Chinese remainder theorem, which is what makes long keys bearable.
func (k *WeakRSA) power(m *big.Int) *big.Int {
	x, n := new(big.Int), big.NewInt(1)
	for _, q := range k.primes {
		part := new(big.Int).Mod(m, q)
		if order := new(big.Int).Sub(q, big.NewInt(1)); order.Cmp(big.NewInt(1)) > 0 {
			d := new(big.Int).ModInverse(big.NewInt(int64(k.E)), order)
			part.Exp(part, d, q)
		}
		// x += n * ((part - x) / n mod q)
		t := new(big.Int).Sub(part, x)
		t.Mul(t, new(big.Int).ModInverse(n, q)).Mod(t, q)
		x.Add(x, t.Mul(t, n))
		n.Mul(n, q)
	}
	return x
}

// digestInfo is the DER prefix of a hash (RFC 8017 section 9.2, note 1).
func digestInfo(h crypto.Hash) ([]byte, error) {
	head := func(total, id, size byte) []byte {
		return []byte{0x30, total, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, id, 0x05, 0x00, 0x04, size}
	}
	switch h { //nolint:exhaustive // JWS knows three
	case crypto.SHA256:
		return head(0x31, 0x01, 0x20), nil
	case crypto.SHA384:
		return head(0x41, 0x02, 0x30), nil
	case crypto.SHA512:
		return head(0x51, 0x03, 0x40), nil
	default:
		return nil, fmt.Errorf("standin: no hash %v", h)
	}
}
