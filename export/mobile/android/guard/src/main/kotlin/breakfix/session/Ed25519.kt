package breakfix.session

import java.math.BigInteger
import java.security.MessageDigest

/**
 * Ed25519 signatures, to be checked and not made: RFC 8032, section 5.1.7. Android's own provider knows them from API 33 on.
 *
 * All that it sees is public, so it need not take the same time for every input.
 */
private val P = BigInteger.ONE.shiftLeft(255) - 19.toBigInteger()
private val ORDER = BigInteger.ONE.shiftLeft(252) + BigInteger("27742317777372353535851937790883648493")
private val D = (-121665).toBigInteger().multiply(121666.toBigInteger().modInverse(P)).mod(P)
private val ROOT_OF_MINUS_ONE = 2.toBigInteger().modPow((P - BigInteger.ONE).shiftRight(2), P)
private val BASE = checkNotNull(decoded(bytesOf(4.toBigInteger().multiply(5.toBigInteger().modInverse(P)).mod(P))))
private const val SIZE = 32

/** A point of the curve, in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z. */
private class Point(val x: BigInteger, val y: BigInteger, val z: BigInteger, val t: BigInteger) {
    operator fun plus(other: Point): Point {
        val a = (y - x) * (other.y - other.x) % P
        val b = (y + x) * (other.y + other.x) % P
        val c = (t * other.t).shiftLeft(1) * D % P
        val d = (z * other.z).shiftLeft(1) % P
        val (e, f, g, h) = listOf(b - a, d - c, d + c, b + a)
        return Point((e * f).mod(P), (g * h).mod(P), (f * g).mod(P), (e * h).mod(P))
    }

    operator fun times(factor: BigInteger): Point {
        var sum = Point(BigInteger.ZERO, BigInteger.ONE, BigInteger.ONE, BigInteger.ZERO)
        for (bit in factor.bitLength() - 1 downTo 0) {
            sum += sum
            if (factor.testBit(bit)) sum += this
        }
        return sum
    }

    fun isSame(other: Point): Boolean =
        (x * other.z - other.x * z).mod(P).signum() == 0 && (y * other.z - other.y * z).mod(P).signum() == 0
}

/** Tell whether a signature, 64 bytes, of a message was made with the private half of a public key, 32 bytes. */
fun verifyEd25519(key: ByteArray, message: ByteArray, signature: ByteArray): Boolean {
    if (key.size != SIZE || signature.size != 2 * SIZE) return false
    val public = decoded(key) ?: return false
    val first = signature.copyOf(SIZE)
    val commitment = decoded(first) ?: return false
    val scalar = number(signature.copyOfRange(SIZE, 2 * SIZE))
    if (scalar >= ORDER) return false
    val challenge = number(MessageDigest.getInstance("SHA-512").digest(first + key + message)).mod(ORDER)
    return (BASE * scalar).isSame(commitment + public * challenge)
}

/** Return the point that these bytes stand for, or null: section 5.1.3. */
private fun decoded(bytes: ByteArray): Point? {
    val sign = bytes.last().toInt() ushr 7 and 1
    val y = number(bytes).clearBit(255)
    if (y >= P) return null
    val square = y * y % P
    val (u, v) = (square - BigInteger.ONE).mod(P) to (D * square + BigInteger.ONE).mod(P)
    val quotient = u * v.modInverse(P) % P
    var x = quotient.modPow((P + 3.toBigInteger()).shiftRight(3), P)
    if (x * x % P != quotient) x = x * ROOT_OF_MINUS_ONE % P
    if (x * x % P != quotient || (x.signum() == 0 && sign == 1)) return null
    if (x.testBit(0) != (sign == 1)) x = P - x
    return Point(x, y, BigInteger.ONE, x * y % P)
}

/** Read a number whose least byte comes first. */
private fun number(bytes: ByteArray): BigInteger = BigInteger(1, bytes.reversedArray())

private fun bytesOf(number: BigInteger): ByteArray = ByteArray(SIZE) { number.shiftRight(8 * it).toByte() }
