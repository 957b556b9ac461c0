package io.natsune

import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardOpenOption
import java.nio.file.attribute.PosixFilePermissions

/** What proves who a client is. It never shows its secret. */
public class Credentials private constructor(
    internal val path: String?,
    internal val text: String?,
) {
    /** Writes the text to a new file that only its owner may read. */
    public fun save(to: Path) {
        val content = text ?: Files.readString(Path.of(path.orEmpty()))
        val owner = PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"))
        val options = setOf(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)
        Files.newByteChannel(to, options, owner).use { it.write(Charsets.UTF_8.encode(content)) }
    }

    override fun toString(): String = if (path != null) "Credentials(file: $path)" else "Credentials(text: ...)"

    /** Makes them. */
    public companion object {
        /** A `.creds` file, read again at each connect. */
        public fun file(path: String): Credentials = Credentials(path, null)

        /** A `.creds` file, read again at each connect. */
        public fun file(path: Path): Credentials = Credentials(path.toString(), null)

        /** The text of a `.creds` file. */
        public fun text(text: String): Credentials = Credentials(null, text)
    }
}
