package io.natsune.internal

import io.natsune.Headers
import io.natsune.MessageMetadata
import java.lang.invoke.MethodHandles
import java.nio.ByteBuffer
import java.nio.ByteOrder

private val ints = MethodHandles.byteArrayViewVarHandle(IntArray::class.java, ByteOrder.LITTLE_ENDIAN)
private val longs = MethodHandles.byteArrayViewVarHandle(LongArray::class.java, ByteOrder.LITTLE_ENDIAN)

internal fun ByteArray.u32(at: Int): Int = ints.get(this, at) as Int

internal fun ByteArray.u64(at: Int): Long = longs.get(this, at) as Long

internal fun ByteArray.text(
    start: Int,
    count: Int,
): String = String(this, start, count, Charsets.UTF_8)

/** A packed batch: its entries are read when they are asked for. */
internal class Batch(
    val bytes: ByteArray,
) {
    val count: Int get() = bytes.u32(0)
    val state: Int get() = bytes.u32(4)

    fun entry(index: Int): Entry = Entry(bytes, 16 + index * bytes.u32(8))

    companion object {
        const val ENDED = 2
        const val NONE = -1
    }
}

/** One message of a batch. */
internal class Entry(
    private val bytes: ByteArray,
    private val base: Int,
) {
    private val offset get() = bytes.u32(base)
    private val subjectCount get() = bytes.u32(base + 4)
    private val replyCount get() = bytes.u32(base + 8).let { if (it == Batch.NONE) 0 else it }
    private val headersStart get() = offset + subjectCount + replyCount
    private val headersCount get() = bytes.u32(base + 12)
    private val payloadStart get() = headersStart + headersCount
    private val namesStart get() = payloadStart + payloadCount

    val payloadCount: Int get() = bytes.u32(base + 16)
    val subject: String get() = bytes.text(offset, subjectCount)
    val hasReply: Boolean get() = bytes.u32(base + 8) != Batch.NONE
    val reply: String? get() = if (hasReply) bytes.text(offset + subjectCount, replyCount) else null

    /** Empty when there is none. */
    val replyBytes: ByteArray get() = bytes.copyOfRange(offset + subjectCount, headersStart)
    val payload: ByteArray get() = bytes.copyOfRange(payloadStart, payloadStart + payloadCount)
    val text: String get() = bytes.text(payloadStart, payloadCount)
    val view: ByteBuffer get() = ByteBuffer.wrap(bytes, payloadStart, payloadCount).slice().asReadOnlyBuffer()
    val headers: Headers get() = unpackHeaders(bytes, headersStart, headersCount)
    val status: Int? get() = bytes.u32(base + 20).takeIf { it != 0 }
    val isJetStream: Boolean get() = bytes.u32(base + 24) == 1

    /** A message of a stream only. */
    val metadata: MessageMetadata
        get() {
            val sizes = IntArray(3) { bytes.u32(base + 72 + it * 4) }
            val consumer = namesStart + sizes[0]
            return MessageMetadata(
                stream = bytes.text(namesStart, sizes[0]),
                consumer = bytes.text(consumer, sizes[1]),
                domain = bytes.text(consumer + sizes[1], sizes[2]).ifEmpty { null },
                streamSequence = bytes.u64(base + 32),
                consumerSequence = bytes.u64(base + 40),
                numDelivered = bytes.u64(base + 48),
                numPending = bytes.u64(base + 56),
                timestampNanos = bytes.u64(base + 64),
            )
        }
}

/** Reads packed fields; what is cut off ends it. */
internal fun unpackHeaders(
    bytes: ByteArray,
    start: Int,
    count: Int,
): Headers {
    val headers = Headers()
    val end = start + count
    var at = start

    fun field(): String? {
        if (at + 4 > end) return null
        val size = bytes.u32(at)
        if (size < 0 || size > end - at - 4) return null
        val text = bytes.text(at + 4, size)
        at += 4 + size
        return text
    }
    while (true) {
        val name = field() ?: break
        val value = field() ?: break
        headers.append(name, value)
    }
    return headers
}

private fun utf8(text: String): ByteArray =
    try {
        text.encodeToByteArray(throwOnInvalidSequence = true)
    } catch (_: CharacterCodingException) {
        throw invalid(HALF)
    }

/** Writes fields as they cross into the library: each text behind its length. */
internal fun packFields(fields: Iterable<Pair<String, String>>): ByteArray? {
    val texts = fields.flatMap { (name, value) -> listOf(utf8(name), utf8(value)) }
    if (texts.isEmpty()) return null
    val buffer = ByteBuffer.allocate(texts.sumOf { it.size + 4 }).order(ByteOrder.LITTLE_ENDIAN)
    for (text in texts) buffer.putInt(text.size).put(text)
    return buffer.array()
}
