package io.natsune.internal

import io.natsune.Applied
import io.natsune.ErrorCode
import io.natsune.NatsException
import io.natsune.internal.generated.InternalException
import io.natsune.internal.generated.NativeFailure

/** A hot call's number, or its failure thrown. */
internal fun checked(result: Long): Long = if (result < 0) throw lastFailure() else result

/** The same for small numbers. */
internal fun checked(result: Int): Int = if (result < 0) throw lastFailure() else result

/** A hot call's bytes, or its failure thrown. */
internal fun checked(result: ByteArray?): ByteArray = result ?: throw lastFailure()

/** A generated call, with its failure as ours. */
internal inline fun <T> control(call: () -> T): T =
    try {
        call()
    } catch (failure: NativeFailure.Failed) {
        throw exception(failure.code, failure.text, failure.detailJson, failure.retryable, failure.applied)
    } catch (failure: InternalException) {
        throw exception("internal", failure.message.orEmpty(), "{}", false, "maybe")
    } catch (failure: IllegalArgumentException) {
        // What the generated lane cannot write down, such as a negative number.
        throw invalid(failure.message.orEmpty())
    } catch (_: CharacterCodingException) {
        throw invalid(HALF)
    }

private fun lastFailure(): NatsException {
    val packed =
        Native.lastFailure()
            ?: return exception("internal", "a call failed and left no failure", "{}", false, "maybe")
    return unpackFailure(packed)
}

internal fun unpackFailure(bytes: ByteArray): NatsException {
    val sizes = List(3) { bytes.u32(8 + it * 4) }
    val message = 20 + sizes[0]
    return exception(
        bytes.text(20, sizes[0]),
        bytes.text(message, sizes[1]),
        bytes.text(message + sizes[1], sizes[2]),
        bytes.u32(0) == 1,
        listOf("no", "maybe", "yes").getOrElse(bytes.u32(4)) { "maybe" },
    )
}

internal fun exception(
    code: String,
    message: String,
    detail: String,
    retryable: Boolean,
    applied: String,
): NatsException =
    NatsException(
        ErrorCode.of(code),
        message,
        retryable,
        Applied.entries.firstOrNull { it.word == applied } ?: Applied.Maybe,
        Json(detail).flat(),
    )

internal const val HALF = "a text has half a surrogate pair"

/** A mistake of the caller that is found on this side. */
internal fun invalid(message: String): NatsException = exception("invalid_argument", message, "{}", false, "no")

/** Reads the flat object of a failure's details: texts, numbers, truths. What is nested is skipped. */
private class Json(
    private val text: String,
) {
    private var at = 0

    fun flat(): Map<String, Any> {
        val fields = LinkedHashMap<String, Any>()
        take('{')
        while (at < text.length && peek() != '}') {
            val name = string()
            take(':')
            value()?.let { fields[name] = it }
            if (peek() == ',') at++
        }
        return fields
    }

    private fun peek(): Char {
        while (at < text.length && text[at].isWhitespace()) at++
        return text.getOrElse(at) { '}' }
    }

    private fun take(char: Char) {
        if (peek() == char) at++ else at = text.length
    }

    private fun value(): Any? =
        when (peek()) {
            '"' -> string()
            '{', '[' -> nested()
            else -> word()
        }

    private fun word(): Any? {
        val start = at
        while (at < text.length && text[at] !in ",}] \n") at++
        val word = text.substring(start, at)
        return when (word) {
            "true" -> true
            "false" -> false
            else -> word.toLongOrNull() ?: word.toDoubleOrNull()
        }
    }

    private fun nested(): Any? {
        var depth = 0
        do {
            when (peek()) {
                '"' -> {
                    string()
                    continue
                }
                '{', '[' -> depth++
                '}', ']' -> depth--
            }
            at++
        } while (depth > 0 && at < text.length)
        return null
    }

    private fun string(): String {
        take('"')
        val out = StringBuilder()
        while (at < text.length && text[at] != '"') {
            val char = text[at++]
            if (char != '\\') {
                out.append(char)
                continue
            }
            when (val escaped = text.getOrElse(at++) { ' ' }) {
                'n' -> out.append('\n')
                't' -> out.append('\t')
                'r' -> out.append('\r')
                'b' -> out.append('\b')
                'f' -> out.append('\u000c')
                'u' -> {
                    out.append(
                        text
                            .drop(at)
                            .take(4)
                            .toIntOrNull(16)
                            ?.toChar() ?: '?',
                    )
                    at += 4
                }
                else -> out.append(escaped)
            }
        }
        at++
        return out.toString()
    }
}
