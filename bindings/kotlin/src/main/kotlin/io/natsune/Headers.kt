package io.natsune

import io.natsune.internal.packFields

/** The headers of a message: ordered, several values a name, names as they are written (ADR-4). Not for several threads at once. */
public class Headers() : Iterable<Pair<String, String>> {
    private val pairs = ArrayList<Pair<String, String>>()

    /** Headers in this order: `Headers("trace" to "1")`. */
    public constructor(vararg pairs: Pair<String, String>) : this() {
        this.pairs += pairs
    }

    /** The first value of [name]. */
    public operator fun get(name: String): String? = pairs.firstOrNull { it.first == name }?.second

    /** All values of [name], in order. */
    public fun values(name: String): List<String> = pairs.filter { it.first == name }.map { it.second }

    /** One value, in place of all that were there. */
    public operator fun set(
        name: String,
        value: String,
    ) {
        delete(name)
        append(name, value)
    }

    /** One value more. */
    public fun append(
        name: String,
        value: String,
    ) {
        pairs += name to value
    }

    /** Removes [name]. */
    public fun delete(name: String) {
        pairs.removeAll { it.first == name }
    }

    /** How many pairs there are. */
    public val size: Int get() = pairs.size

    /** Whether there are none. */
    public fun isEmpty(): Boolean = pairs.isEmpty()

    override fun iterator(): Iterator<Pair<String, String>> = pairs.iterator()

    override fun equals(other: Any?): Boolean = other is Headers && pairs == other.pairs

    override fun hashCode(): Int = pairs.hashCode()

    override fun toString(): String = pairs.joinToString(prefix = "Headers(", postfix = ")") { "${it.first}: ${it.second}" }

    /** As they cross into the library, which checks them. */
    internal fun packed(): ByteArray? = packFields(pairs)
}
